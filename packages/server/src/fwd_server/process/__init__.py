"""The running process: listening, workers, signals, stopping well."""
