"""Which bits for which layer, by measuring: allocations are compiled and evaluated, and the best at each cost kept."""
