// trust.h - floor 2, inside net/: the certificates that are trusted, as BearSSL wants them.
#pragma once

#include "tls.h"

#include <bearssl.h>

enum { TRUST_MOST = 1024 }; // certificates: bundles of systems have about 150

struct trust {
    br_x509_trust_anchor *anchors; // [n]: each with its name and key in a malloc of its own
    size_t n, allocated;
};
