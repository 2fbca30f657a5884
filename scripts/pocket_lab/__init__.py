"""The pocket model's laboratory: train, examine, report. In the repository, not in the wheel."""
