/* mdns.c - this box by name on its links, without anybody's help: multicast DNS (RFC 6762) and
 * service discovery (RFC 6763). Pure; mdns_child.c owns the sockets, in a process without rights.
 *
 * NAME.local has the addresses of the link that asks, no other's. _https._tcp and _ollama._tcp each
 * have one instance, NAME. A name is asked for three times before it is used (probing), then told
 * twice (announcing); whoever answers for it meanwhile has it, and we are NAME-2. Of two that probe
 * at once the one with the greater addresses gets it. A name that is ours and is claimed by another
 * is asked for anew once, and then given up.
 *
 * What is ours on another link is no conflict: two cards may be in one network.
 */
#include "init.h"

#include <stdio.h>
#include <string.h>

enum { // records of a link, as bits of a mask
    REC_A = 0,
    REC_AAAA = 1,
    REC_NSEC = REC_AAAA + MDNS_SIX,
    REC_HTTPS = REC_NSEC + 1, // four: kind of service, instance, where, what
    REC_OLLAMA = REC_HTTPS + 4,
    REC_END = REC_OLLAMA + 4
};
_Static_assert(REC_END <= MDNS_RECORDS, "a mask has room for all");

#define PROBES 3
#define PROBE_MS 250
#define ANNOUNCEMENTS 2
#define HOST_TTL 120
#define OTHER_TTL 4500
#define MANY_CONFLICTS 15  // then one attempt a minute
#define FORGIVEN_MS 600000 // without another conflict
#define MOST_NUMBER 99
#define LEGACY_TTL 10
#define ANSWER 0x8400 // it is an answer, of authority

struct item { // one record of ours
    struct dns_name name, target;
    bool has_target;
    uint16_t type, class;
    uint32_t ttl;
    uint8_t data[128];
    size_t n_data;
};

static uint32_t draw(struct mdns *m, uint32_t below)
{
    m->rng ^= m->rng << 13;
    m->rng ^= m->rng >> 17;
    m->rng ^= m->rng << 5;
    return m->rng % below;
}

/* ---- our records ---- */

static void host_name(const struct mdns *m, struct dns_name *out)
{
    char text[80];

    snprintf(text, sizeof(text), "%s.local", m->name);
    dns_name_of(out, text);
}

static void instance_name(const struct mdns *m, const char *kind, struct dns_name *out)
{
    char text[96];

    snprintf(text, sizeof(text), "%s.%s.local", m->name, kind);
    dns_name_of(out, text);
}

/* Which types NAME.local has: the name again, window 0, four bytes of bits (RFC 4034, 4.1.2). */
static void make_nsec(const struct mdns_link *l, struct item *it)
{
    memcpy(it->data, it->name.bytes, it->name.n);
    uint8_t bits[6] = {0, 4, l->four ? 0x40 : 0, 0, 0, l->n_six ? 0x08 : 0};
    memcpy(it->data + it->name.n, bits, sizeof(bits));
    it->n_data = it->name.n + sizeof(bits);
}

static bool service(const struct mdns *m, int k, struct item *it)
{
    static const char https_text[] = "\x09txtvers=1\x06path=/", ollama_text[] =
                                                                    "\x09txtvers=1\x05"
                                                                    "tls=1\x09path=/api";
    bool https = k < REC_OLLAMA;
    const char *kind = https ? "_https._tcp" : "_ollama._tcp";
    uint16_t port = https ? m->table.https : m->table.ollama;
    char kind_local[32];
    int part = k - (https ? REC_HTTPS : REC_OLLAMA);

    snprintf(kind_local, sizeof(kind_local), "%s.local", kind);
    if (part == 0)
        dns_name_of(&it->name, "_services._dns-sd._udp.local");
    else if (part == 1)
        dns_name_of(&it->name, kind_local);
    else
        instance_name(m, kind, &it->name);
    it->ttl = part == 2 ? HOST_TTL : OTHER_TTL;
    it->class = DNS_IN | (part >= 2 ? DNS_TOP : 0);
    it->type = part < 2 ? DNS_PTR : part == 2 ? DNS_SRV : DNS_TXT;
    it->has_target = part < 3;
    if (part == 0)
        dns_name_of(&it->target, kind_local);
    if (part == 1)
        instance_name(m, kind, &it->target);
    if (part == 2) { // priority, weight, port
        be_put(it->data + 4, 2, port);
        it->n_data = 6;
        host_name(m, &it->target);
    }
    if (part == 3) {
        it->n_data = https ? sizeof(https_text) - 1 : sizeof(ollama_text) - 1;
        memcpy(it->data, https ? https_text : ollama_text, it->n_data);
    }
    return port != 0;
}

/* Record k of a link; false: it has none such. */
static bool item(const struct mdns *m, int link, int k, struct item *it)
{
    const struct mdns_link *l = &m->table.link[link];

    *it = (struct item){.class = DNS_IN | DNS_TOP, .ttl = HOST_TTL};
    if (k >= REC_HTTPS)
        return k < REC_END && service(m, k, it);
    host_name(m, &it->name);
    if (k == REC_A) {
        it->type = DNS_A;
        it->n_data = 4;
        memcpy(it->data, &l->four, 4);
        return l->four != 0;
    }
    if (k == REC_NSEC) {
        it->type = DNS_NSEC;
        make_nsec(l, it);
        return true;
    }
    it->type = DNS_AAAA;
    it->n_data = 16;
    if (k - REC_AAAA < l->n_six)
        memcpy(it->data, l->six[k - REC_AAAA], 16);
    return k - REC_AAAA < l->n_six;
}

static bool same_data(const struct dns_reader *r, const struct dns_record *rec,
                      const struct item *it)
{
    struct dns_name target;
    size_t at = rec->data_at + it->n_data;

    if (rec->n_data < it->n_data || memcmp(rec->data, it->data, it->n_data) != 0)
        return false;
    if (!it->has_target)
        return rec->n_data == it->n_data;
    return dns_name(&target, r->msg, r->len, &at) && at == rec->data_at + rec->n_data &&
           dns_same(&target, &it->target);
}

/* ---- sending ---- */

static void put_items(struct dns_writer *w, const struct mdns *m, int link, int section,
                      uint32_t mask, const uint32_t *ttl, bool legacy)
{
    struct item it;

    for (int k = 0; k < REC_END; k++) {
        if (!(mask >> k & 1) || !item(m, link, k, &it))
            continue;
        uint32_t seconds = ttl ? *ttl : it.ttl;
        if (legacy && seconds > LEGACY_TTL)
            seconds = LEGACY_TTL;
        (void)dns_put(w, section, &it.name, it.type, legacy || section == 1 ? DNS_IN : it.class,
                      seconds, it.data, it.n_data, it.has_target ? &it.target : NULL);
    }
}

/* What whoever asks for these will ask next. */
static uint32_t companions(uint32_t mask)
{
    uint32_t more = 0, host = ((1u << REC_HTTPS) - 1) & ~(1u << REC_NSEC);

    for (int k = REC_HTTPS; k < REC_END; k += 4) {
        if (mask >> (k + 1) & 1)
            more |= 3u << (k + 2) | host;
        if (mask >> (k + 2) & 1)
            more |= host;
    }
    if (mask & host)
        more |= host | 1u << REC_NSEC; // the other family's, or that there is none
    return more & ~mask;
}

static void multicast(struct mdns *m, int link, uint32_t mask, const uint32_t *ttl, int64_t now)
{
    struct dns_writer w;

    dns_begin(&w, 0, ANSWER);
    put_items(&w, m, link, 0, mask, ttl, false);
    if (!ttl)
        put_items(&w, m, link, 2, companions(mask), NULL, false);
    for (int k = 0; k < REC_END; k++)
        if (mask >> k & 1)
            m->run[link].sent_ms[k] = now;
    m->send(m->ctx, m->table.link[link].ifindex, NULL, w.msg, w.n);
}

static void probe(struct mdns *m, int link)
{
    struct dns_writer w;
    struct dns_name name;
    uint32_t hosts = (1u << REC_NSEC) - 1;

    dns_begin(&w, 0, 0);
    host_name(m, &name);
    dns_put_question(&w, &name, DNS_ANY, DNS_IN | DNS_TOP);
    if (m->table.https) {
        instance_name(m, "_https._tcp", &name);
        dns_put_question(&w, &name, DNS_ANY, DNS_IN | DNS_TOP);
    }
    if (m->table.ollama) {
        instance_name(m, "_ollama._tcp", &name);
        dns_put_question(&w, &name, DNS_ANY, DNS_IN | DNS_TOP);
    }
    put_items(&w, m, link, 1, hosts | 1u << (REC_HTTPS + 2) | 1u << (REC_OLLAMA + 2), NULL, false);
    m->send(m->ctx, m->table.link[link].ifindex, NULL, w.msg, w.n);
}

/* ---- the name ---- */

static void probe_from(struct mdns_run *run, int64_t when)
{
    run->state = MDNS_PROBING;
    run->step = 0;
    run->next_ms = when;
    run->pending = 0;
    run->pending_ms = INT64_MAX;
}

static void probe_all(struct mdns *m, int64_t when)
{
    for (int i = 0; i < m->table.n; i++)
        probe_from(&m->run[i], when);
}

static void rename_box(struct mdns *m, int64_t now)
{
    char number[8];

    if (now - m->conflict_ms > FORGIVEN_MS)
        m->n_conflicts = 0;
    m->conflict_ms = now;
    m->n_conflicts++;
    m->number = m->number < 2 || m->number >= MOST_NUMBER ? 2 : m->number + 1;
    snprintf(number, sizeof(number), "-%d", m->number);
    snprintf(m->name, sizeof(m->name), "%.*s%s", (int)(63 - strlen(number)), m->table.hostname,
             number);
    probe_all(m, now + (m->n_conflicts > MANY_CONFLICTS ? 60000 : draw(m, PROBE_MS)));
}

/* Is it a record that says that our name is another's? */
static bool conflicts(const struct mdns *m, const struct dns_reader *r,
                      const struct dns_record *rec)
{
    bool ours = false;
    struct item it;

    if ((rec->class & ~DNS_TOP) != DNS_IN || rec->ttl == 0 ||
        (rec->type != DNS_A && rec->type != DNS_AAAA && rec->type != DNS_SRV)) {
        return false;
    }
    for (int link = 0; link < m->table.n; link++) {
        for (int k = 0; k < REC_END; k++) {
            if (!item(m, link, k, &it) || !dns_same(&it.name, &rec->name))
                continue;
            ours = true;
            if (it.type == rec->type && same_data(r, rec, &it))
                return false;
        }
    }
    return ours;
}

static void answer_arrived(struct mdns *m, int link, struct dns_reader *r, int64_t now)
{
    struct dns_record rec;
    bool conflict = false;

    while (dns_next(r, &rec))
        conflict = conflict || conflicts(m, r, &rec);
    if (!conflict || r->bad)
        return;
    if (m->run[link].state == MDNS_PROBING)
        rename_box(m, now);
    else
        probe_all(m, now); // asked for anew; if it is answered, it is given up
}

/* ---- two that probe at once ---- */

struct claim { // an address record: type and contents
    uint8_t bytes[2 + 16];
    size_t n;
};

static int compare(const struct claim *a, const struct claim *b)
{
    int c = memcmp(a->bytes, b->bytes, a->n < b->n ? a->n : b->n);

    return c ? c : (a->n > b->n) - (a->n < b->n);
}

static void add_claim(struct claim *list, int *n, uint16_t type, const uint8_t *data, size_t len)
{
    struct claim c = {.n = 2 + len};
    int at = *n;

    if (*n == MDNS_RECORDS || len > 16)
        return;
    be_put(c.bytes, 2, type);
    memcpy(c.bytes + 2, data, len);
    for (; at > 0 && compare(&list[at - 1], &c) > 0; at--)
        list[at] = list[at - 1];
    list[at] = c;
    ++*n;
}

/* True: theirs come later in the order of the RFC (8.2), and the name is theirs. */
static bool loses(const struct mdns *m, int link, const struct claim *theirs, int n_theirs)
{
    struct claim ours[MDNS_RECORDS];
    struct item it;
    int n = 0;

    for (int k = 0; k < REC_NSEC; k++)
        if (item(m, link, k, &it))
            add_claim(ours, &n, it.type, it.data, it.n_data);
    for (int i = 0; i < n && i < n_theirs; i++) {
        int c = compare(&ours[i], &theirs[i]);
        if (c)
            return c < 0;
    }
    return n < n_theirs;
}

/* ---- questions ---- */

static uint32_t matching(const struct mdns *m, int link, const struct dns_record *q)
{
    uint32_t mask = 0;
    struct item it;
    uint16_t class = q->class & (uint16_t)~DNS_TOP;

    if (class != DNS_IN && class != DNS_ANY)
        return 0;
    for (int k = 0; k < REC_END; k++)
        if (item(m, link, k, &it) && (q->type == it.type || q->type == DNS_ANY) &&
            dns_same(&it.name, &q->name))
            mask |= 1u << k;
    if (mask == 0 && (q->type == DNS_A || q->type == DNS_AAAA) && item(m, link, REC_NSEC, &it) &&
        dns_same(&it.name, &q->name))
        mask = 1u << REC_NSEC; // there is none, and nobody need wait for it
    return mask;
}

static uint32_t known(const struct mdns *m, int link, const struct dns_reader *r,
                      const struct dns_record *rec, uint32_t mask)
{
    struct item it;

    for (int k = 0; k < REC_END; k++)
        if ((mask >> k & 1) && item(m, link, k, &it) && it.type == rec->type &&
            rec->ttl >= it.ttl / 2 && dns_same(&it.name, &rec->name) && same_data(r, rec, &it))
            mask &= ~(1u << k);
    return mask;
}

/* Those that were multicast in the last `ms`. */
static uint32_t recent(const struct mdns_run *run, uint32_t mask, int64_t now, int64_t ms)
{
    uint32_t out = 0;

    for (int k = 0; k < REC_END; k++)
        if ((mask >> k & 1) && now - run->sent_ms[k] < ms)
            out |= 1u << k;
    return out;
}

static void unicast(struct mdns *m, int link, const struct mdns_from *from, uint32_t mask,
                    const struct dns_reader *query)
{
    struct dns_writer w;
    bool legacy = from->port != 5353;
    struct dns_reader again;
    struct dns_record q;

    dns_begin(&w, legacy ? query->id : 0, ANSWER);
    if (legacy && dns_open(&again, query->msg, query->len) == OK)
        while (dns_question(&again, &q))
            dns_put_question(&w, &q.name, q.type, q.class);
    if (w.full)
        return;
    put_items(&w, m, link, 0, mask, NULL, legacy);
    put_items(&w, m, link, 2, companions(mask), NULL, legacy);
    m->send(m->ctx, m->table.link[link].ifindex, from, w.msg, w.n);
}

struct query {           // what one message asks
    uint32_t all, alone; // for everybody; for the one who asks
    struct claim claims[MDNS_RECORDS];
    int n_claims;
    bool probes;
};

static bool read_query(struct mdns *m, int link, struct dns_reader *r, struct query *query)
{
    struct dns_record rec;
    struct dns_name host;

    *query = (struct query){.all = 0};
    host_name(m, &host);
    while (dns_question(r, &rec)) {
        uint32_t mask = matching(m, link, &rec);
        if (rec.class & DNS_TOP)
            query->alone |= mask;
        else
            query->all |= mask;
    }
    while (dns_next(r, &rec)) {
        if (rec.section == 0) {
            query->all = known(m, link, r, &rec, query->all);
            query->alone = known(m, link, r, &rec, query->alone);
            m->run[link].pending = known(m, link, r, &rec, m->run[link].pending);
        }
        query->probes = query->probes || rec.section == 1;
        if (rec.section == 1 && (rec.type == DNS_A || rec.type == DNS_AAAA) &&
            dns_same(&rec.name, &host))
            add_claim(query->claims, &query->n_claims, rec.type, rec.data, rec.n_data);
    }
    return !r->bad;
}

static void query_arrived(struct mdns *m, int link, const struct mdns_from *from,
                          struct dns_reader *r, int64_t now)
{
    struct mdns_run *run = &m->run[link];
    struct query query;

    if (!read_query(m, link, r, &query))
        return;
    if (run->state == MDNS_PROBING) {
        if (query.n_claims && loses(m, link, query.claims, query.n_claims))
            probe_from(run, now + 1000);
        return;
    }
    if (from->port != 5353) {
        if (query.all | query.alone)
            unicast(m, link, from, query.all | query.alone, r);
        return;
    }
    uint32_t alone = recent(run, query.alone, now, HOST_TTL * 1000ll / 4);
    query.all |= query.alone & ~alone; // others may want to know it too
    if (alone)
        unicast(m, link, from, alone, r);
    query.all &= ~recent(run, query.all, now, query.probes ? 250 : 1000);
    if (!query.all)
        return;
    uint32_t shared = 3u << REC_HTTPS | 3u << REC_OLLAMA; // others may answer too: by turns
    int64_t delay = r->flags & 0x0200    ? 400 + draw(m, 100)
                    : query.probes       ? 0
                    : query.all & shared ? 20 + draw(m, 100)
                                         : 0;
    run->pending |= query.all;
    if (now + delay < run->pending_ms)
        run->pending_ms = now + delay;
}

/* ---- what the caller sees ---- */

void mdns_start(struct mdns *m, uint32_t random)
{
    m->table = (struct mdns_table){.n = 0};
    m->rng = random ? random : 1;
    m->name[0] = 0;
    m->number = m->n_conflicts = 0;
    m->conflict_ms = 0;
}

void mdns_set(struct mdns *m, const struct mdns_table *t, int64_t now)
{
    struct mdns_table before = m->table;
    struct mdns_run runs[MDNS_LINKS];
    bool renamed = strcmp(before.hostname, t->hostname) != 0;

    memcpy(runs, m->run, sizeof(runs));
    m->table = *t;
    if (renamed) {
        snprintf(m->name, sizeof(m->name), "%s", t->hostname);
        m->number = m->n_conflicts = 0;
    }
    for (int i = 0; i < t->n; i++) {
        int old = 0;
        while (old < before.n && before.link[old].ifindex != t->link[i].ifindex)
            old++;
        if (old == before.n || renamed) {
            for (int k = 0; k < MDNS_RECORDS; k++)
                m->run[i].sent_ms[k] = now - OTHER_TTL * 1000ll;
            probe_from(&m->run[i], now + draw(m, PROBE_MS));
            continue;
        }
        m->run[i] = runs[old];
        if (memcmp(&before.link[old], &t->link[i], sizeof(t->link[i])) != 0 &&
            m->run[i].state != MDNS_PROBING) {
            m->run[i].state = MDNS_ANNOUNCING;
            m->run[i].step = 0;
            m->run[i].next_ms = now;
        }
    }
}

void mdns_receive(struct mdns *m, const struct mdns_from *from, const uint8_t *msg, size_t len,
                  int64_t now)
{
    struct dns_reader r;
    int link = 0;

    while (link < m->table.n && m->table.link[link].ifindex != from->ifindex)
        link++;
    if (link == m->table.n || dns_open(&r, msg, len) != OK || (r.flags & 0x7800))
        return;
    const struct mdns_link *l = &m->table.link[link];
    bool near = from->six ? from->near : l->four && ((from->four ^ l->four) & l->mask) == 0;
    if (from->unicast && !near)
        return; // from beyond the link: none of its business
    if (!(r.flags & 0x8000))
        query_arrived(m, link, from, &r, now);
    else if (from->port == 5353 && r.n_questions == 0)
        answer_arrived(m, link, &r, now);
}

static void step(struct mdns *m, int link, int64_t now)
{
    struct mdns_run *run = &m->run[link];

    if (run->state == MDNS_PROBING && run->step < PROBES) {
        probe(m, link);
        run->step++;
        run->next_ms = now + PROBE_MS;
        return;
    }
    if (run->state == MDNS_PROBING) {
        run->state = MDNS_ANNOUNCING;
        run->step = 0;
    }
    multicast(m, link, (1u << REC_END) - 1, NULL, now);
    run->step++;
    run->next_ms = now + 1000;
    if (run->step == ANNOUNCEMENTS) {
        run->state = MDNS_UP;
        run->next_ms = INT64_MAX;
    }
}

int64_t mdns_tick(struct mdns *m, int64_t now)
{
    int64_t next = INT64_MAX;

    for (int i = 0; i < m->table.n; i++) {
        struct mdns_run *run = &m->run[i];
        if (now >= run->pending_ms) {
            uint32_t mask = run->pending;
            run->pending = 0;
            run->pending_ms = INT64_MAX;
            if (mask)
                multicast(m, i, mask, NULL, now);
        }
        if (now >= run->next_ms)
            step(m, i, now);
        next = run->next_ms < next ? run->next_ms : next;
        next = run->pending_ms < next ? run->pending_ms : next;
    }
    return next;
}

bool mdns_is_up(const struct mdns *m)
{
    for (int i = 0; i < m->table.n; i++)
        if (m->run[i].state == MDNS_PROBING)
            return false;
    return m->table.n > 0;
}

void mdns_goodbye(struct mdns *m)
{
    static const uint32_t none = 0;

    for (int i = 0; i < m->table.n; i++)
        if (m->run[i].state != MDNS_PROBING)
            multicast(m, i, ((1u << REC_END) - 1) & ~(1u << REC_NSEC), &none, 0);
}
