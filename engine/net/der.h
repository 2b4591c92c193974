// der.h - floor 2, inside net/: writing and reading DER (ITU-T X.690, the distinguished encoding of
// ASN.1), as far as certificates need it.
//
// Writer: bytes are appended to a fixed buffer of the caller's; der_open() starts a constructed
// value, der_close() puts its length in front (the contents move up by the size of the length).
// Running out of room is remembered in `full`, so that it is asked once, at the end. Reader:
// der_read() takes one element off the front of a view, strictly: lengths must be minimal and
// definite, tags are one byte.
#pragma once

#include "../base/base.h"

enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_OID = 0x06,
    DER_UTF8 = 0x0C,
    DER_UTC_TIME = 0x17,
    DER_GENERAL_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_CONTEXT = 0x80,             // [n] primitive: DER_CONTEXT + n
    DER_CONTEXT_CONSTRUCTED = 0xA0, // [n] constructed
};

struct der {
    uint8_t *p; // caller's, `room` bytes
    size_t n, room;
    bool full; // something did not fit: the contents are worthless
};

void der_init(struct der *der, uint8_t *p, size_t room);
void der_raw(struct der *der, struct bytes encoded); // as it is
void der_put(struct der *der, unsigned tag, struct bytes content);
size_t der_open(struct der *der, unsigned tag); // returns what der_close wants
void der_close(struct der *der, size_t opened);
void der_integer(struct der *der,
                 struct bytes magnitude);          // unsigned, big-endian, at least one byte
void der_bits(struct der *der, struct bytes bits); // BIT STRING without unused bits
void der_time(struct der *der,
              int64_t unix_s); // UTCTime until 2049, GeneralizedTime from 2050 (RFC 5280)
struct bytes der_view(const struct der *der);

// Takes the element at the front of *in off: its tag, its content and (unless NULL) the whole of
// it. BAD_INPUT when it is not DER.
MUST_USE enum status der_read(struct bytes *in, unsigned *tag, struct bytes *content,
                              struct bytes *whole);
// The same for an element that must have this tag; *in is unchanged when it has another.
MUST_USE enum status der_expect(struct bytes *in, unsigned tag, struct bytes *content);
MUST_USE enum status der_read_time(struct bytes *in, int64_t *unix_s);
