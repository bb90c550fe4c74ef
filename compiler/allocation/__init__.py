"""Bits by integer programming: what choices cost, in flash, memory and work, and the best that budgets allow."""
