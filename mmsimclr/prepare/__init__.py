"""Fetching and preparing data."""
