/* Starts the Cortex-M4: vectors, memory as C expects it, main. */
#include "board.h"

#include <stdint.h>

extern uint32_t data_start[], data_end[], data_source[], bss_start[], bss_end[], stack_top[];

int main(void);
void reset(void);

void reset(void)
{
    const uint32_t *source = data_source;

    for (uint32_t *to = data_start; to < data_end; to++) {
        *to = *source++;
    }
    for (uint32_t *to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    /* Coprocessors 10 and 11: code for this core may use floating-point registers. */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    main();
    board_stop(1);
}

static void fault(void)
{
    board_print("The core faulted.\n");
    board_stop(2);
}

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const handler vectors[16] = {
    (handler)stack_top, reset, fault, fault, fault, fault, fault, fault,
    fault,              fault, fault, fault, fault, fault, fault, fault,
};
