"""The models that sks4 is compared with."""
