"""Output for people: status, check, progress, messages and tables. Changes nothing."""
