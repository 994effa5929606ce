"""Converted networks written for other programs, with vectors to replay and a report of what is lost."""
