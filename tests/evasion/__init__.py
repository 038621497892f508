"""Forbidden operations in every disguise that TCP and IP offer, sent through a real gateway, judged at real servers."""
