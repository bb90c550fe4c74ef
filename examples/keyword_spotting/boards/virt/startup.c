/* Starts the RISC-V core: stack, traps, memory as C expects it, main. */
#include "board.h"

#include <stdint.h>

extern uint32_t data_start[], data_end[], data_source[], bss_start[], bss_end[];

int main(void);
void reset(void);
void run(void);
void fault(void);

__attribute__((section(".reset"), naked, used)) void reset(void)
{
    __asm__ volatile(".option push\n\t"
                     ".option norelax\n\t"
                     "la gp, __global_pointer$\n\t"
                     ".option arch, +zicsr\n\t"
                     "la t0, fault\n\t"
                     "csrw mtvec, t0\n\t"
                     ".option pop\n\t"
                     "la sp, stack_top\n\t"
                     "j run");
}

void run(void)
{
    const uint32_t *source = data_source;

    for (uint32_t *to = data_start; to < data_end; to++) {
        *to = *source++;
    }
    for (uint32_t *to = bss_start; to < bss_end; to++) {
        *to = 0;
    }
    main();
    board_stop(1);
}

__attribute__((aligned(4))) void fault(void)
{
    board_print("The core faulted.\n");
    board_stop(2);
}
