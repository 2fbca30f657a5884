"""The pocket model's laboratory: train, examine and report it. In the repository, not in the wheel."""
