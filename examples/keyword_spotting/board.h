/* What the firmware asks of a board. */
#ifndef BOARD_H
#define BOARD_H

/* Make the console ready. */
void board_start(void);

/* Text to the console. */
void board_print(const char *text);

/* The end: boards that are emulated stop with the code, others wait for a reset. */
void board_stop(int code) __attribute__((noreturn));

#endif
