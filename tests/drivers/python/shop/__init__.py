"""The app of django_test.py."""
