/* Spots keywords: checks the model on its golden vectors, then listens to recorded clips.

   A clip is 49 frames of 10 mel-frequency cepstral coefficients, quantized as model.h says. A product would compute
   them from its microphone; here they stand in clips.h. */
#include "board.h"
#include "clips.h"
#include "model.h"

static const char *const words[CLASSES] = {
    "down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown",
};

int golden_test(void);
int main(void);

static int largest(const int8_t *scores)
{
    int best = 0;

    for (int i = 1; i < CLASSES; i++) {
        if (scores[i] > scores[best]) {
            best = i;
        }
    }
    return best;
}

static void print_number(int number)
{
    char text[12];
    char *digit = text + sizeof text;

    *--digit = '\0';
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    board_print(digit);
}

int main(void)
{
    static int8_t scores[CLASSES];
    int right = 0, same = 0;

    board_start();
    if (golden_test() != 0) {
        board_print("The golden vectors are not met.\n");
        board_stop(1);
    }
    board_print("The golden vectors are met.\n");
    for (int i = 0; i < CLIPS; i++) {
        model_run(clips[i], scores);
        const int heard = largest(scores);

        right += heard == said[i];
        same += heard == expected[i];
        board_print("said ");
        board_print(words[said[i]]);
        board_print(", heard ");
        board_print(words[heard]);
        board_print("\n");
    }
    print_number(right);
    board_print(" of ");
    print_number(CLIPS);
    board_print(" clips heard rightly; ");
    print_number(same);
    board_print(" as the integer graph hears them.\n");
    board_stop(same == CLIPS ? 0 : 1);
}
