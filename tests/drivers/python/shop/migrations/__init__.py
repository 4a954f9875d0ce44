"""Made by hand."""
