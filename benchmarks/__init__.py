"""Measurements that back what the README says. Each file names its command; none of them decides a test."""
