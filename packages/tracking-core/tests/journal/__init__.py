"""The journal under every fault that a disk, a process or a person can bring about."""
