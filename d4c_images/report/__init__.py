"""What people read: status, check, progress, messages and tables. Changes nothing."""
