TARGET := cortex-m4
CROSS  := arm-none-eabi-
FLAGS  := -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16
LIBS   := --specs=nosys.specs
QEMU   := qemu-system-arm -M mps2-an386 -semihosting-config enable=on,target=native
