"""Human-readable output: status, check, progress, messages and tables. Changes nothing."""
