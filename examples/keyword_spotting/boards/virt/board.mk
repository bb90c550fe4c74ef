TARGET := rv32imac
CROSS  := riscv64-unknown-elf-
FLAGS  := -march=rv32imac -mabi=ilp32
LIBS   := --specs=picolibc.specs
QEMU   := qemu-system-riscv32 -M virt -m 64M -bios none
