/* Arm MPS2 with the AN386 image: a CMSDK UART, and semihosting to stop. */
#include "board.h"

#include <stdint.h>

#define UART ((volatile uint32_t *)0x40004000u)

enum { DATA, STATE, CONTROL, BAUD_DIVIDER = 4 };

#define TRANSMIT_FULL 1u
#define TRANSMIT_ENABLE 1u

void board_start(void)
{
    UART[BAUD_DIVIDER] = 217; /* 115,200 baud of 25 MHz */
    UART[CONTROL] = TRANSMIT_ENABLE;
}

void board_print(const char *text)
{
    for (; *text != '\0'; text++) {
        while (UART[STATE] & TRANSMIT_FULL) {
        }
        UART[DATA] = (uint8_t)*text;
    }
}

void board_stop(int code)
{
    /* SYS_EXIT_EXTENDED with ADP_Stopped_ApplicationExit; needs a debugger or an emulator that answers. */
    const uint32_t why[2] = {0x20026u, (uint32_t)code};
    register uint32_t r0 __asm__("r0") = 0x20u;
    register const uint32_t *r1 __asm__("r1") = why;

    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    for (;;) {
    }
}
