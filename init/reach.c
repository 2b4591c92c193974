/* reach.c - why nobody can reach this box, and what to do about it, in one sentence. Pure.
 *
 * The first cause that holds from the plug upwards is told: no card, a card without a driver, no
 * cable, nobody who gives out addresses. Whoever reads it stands before the machine with nothing
 * but its screen.
 */
#include "init.h"

#include <stdio.h>
#include <string.h>

static void without_card(char *out, size_t cap, const struct reach *r)
{
    if (r->drivers_busy) {
        snprintf(out, cap,
                 "drivers are still starting, and no wired network card was found so far");
    } else if (r->n_unclaimed) {
        snprintf(out, cap,
                 "there is %s%s, but this image has no driver for it, and no other wired network "
                 "card was found: a USB adapter with a Realtek chip (RTL8153, RTL8156) works",
                 r->unclaimed[0], r->n_unclaimed > 1 ? " (and more)" : "");
    } else {
        snprintf(out, cap,
                 "no wired network card was found: plug in a USB adapter with a Realtek chip "
                 "(RTL8153, RTL8156); in a virtual machine, add a card of type VirtIO");
    }
}

bool reach_text(char *out, size_t cap, const struct reach *r)
{
    out[0] = 0;
    if (r->has_ip4 || r->has_ip6)
        return false;
    if (!r->n_nics) {
        without_card(out, cap, r);
    } else if (!r->n_carriers) {
        snprintf(out, cap,
                 "no network cable is plugged in (%s): plug one in, nothing else is needed",
                 r->nic);
        size_t n = strlen(out);
        if (r->n_unclaimed)
            snprintf(out + n, cap - n, ". This image has no driver for %s", r->unclaimed[0]);
    } else if (r->refused) {
        snprintf(out, cap,
                 "%s: the network's DHCP server gives out an address that cannot be used here, for "
                 "the reason above: look at its settings",
                 r->nic);
    } else if (r->silent) {
        snprintf(out, cap,
                 "%s: no DHCP server has answered for 10 s; still asking. Is this the right "
                 "network, and does its router give out addresses?",
                 r->nic);
    } else {
        snprintf(out, cap, "%s asks the network for an address", r->nic);
    }
    return true;
}
