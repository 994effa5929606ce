"""Conventional machines: the same network on GPU, TPU, ASIC, CPU and MCU."""
