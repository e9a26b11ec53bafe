"""``manage.py wspublish``."""
