/* QEMU's RISC-V board virt: a 16550 UART, and a device that stops the machine. */
#include "board.h"

#include <stdint.h>

#define UART ((volatile uint8_t *)0x10000000u)
#define FINISHER (*(volatile uint32_t *)0x100000u)

enum { TRANSMIT = 0, LINE_STATUS = 5 };

#define TRANSMIT_EMPTY 0x20u

void board_start(void)
{
}

void board_print(const char *text)
{
    for (; *text != '\0'; text++) {
        while (!(UART[LINE_STATUS] & TRANSMIT_EMPTY)) {
        }
        UART[TRANSMIT] = (uint8_t)*text;
    }
}

void board_stop(int code)
{
    FINISHER = code == 0 ? 0x5555u : (uint32_t)code << 16 | 0x3333u;
    for (;;) {
    }
}
