"""Statements about runs: claims, and one file a certificate."""
