"""Benchmarks of sks4: accuracy, time and memory, beside other models."""
