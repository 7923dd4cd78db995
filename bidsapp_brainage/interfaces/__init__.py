"""Thin nipype adapters around the core functions: files in, files out, nothing else.

Heavy libraries are imported when a node runs, so that building a workflow stays cheap and no
graphics driver is touched before a child process exists.
"""
