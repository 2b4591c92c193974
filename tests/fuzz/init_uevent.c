/* init_uevent.c - fuzz target: any bytes as what the kernel says of a device (init/uevent.c), whose
 * words come from whatever is plugged in. Every value lies in the message and ends there.
 *
 * Kept inputs: init_uevent/.
 */
#include "../../init/init.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lies_in(const char *text, const char *msg, size_t len)
{
    if (*text && (text < msg || text + strlen(text) >= msg + len))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct uevent u;
    char *msg = malloc(size ? size : 1);
    if (!msg)
        abort();
    memcpy(msg, data, size);
    if (uevent_parse(&u, msg, size) == OK) {
        if (!*u.action)
            abort();
        lies_in(u.action, msg, size);
        lies_in(u.subsystem, msg, size);
        lies_in(u.devname, msg, size);
        lies_in(u.devtype, msg, size);
        lies_in(u.modalias, msg, size);
    }
    free(msg);
    return 0;
}
