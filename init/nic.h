/* nic.h - the wired links, as net.c (links come and go), net_lease.c (addresses), net_dhcp.c (who
 * gives them) and net_say.c (what people are told) share them. Nobody else looks inside.
 */
#ifndef NIC_H
#define NIC_H

#include "init.h"

#include <net/if.h>

#define MAX_NICS 8
#define SILENT_MS 10000 // of asking, and it is said

struct nic {
    int ifindex; // 0: free
    char name[IFNAMSIZ];
    uint8_t mac[6];
    bool carrier;
    bool has_lease;                // `applied` is set on the link
    bool fixed;                    // ... by tawny.conf, and no DHCP server is asked
    bool fixed6;                   // IPv6 addresses of tawny.conf are set
    bool told;                     // that nobody answers
    bool refused;                  // the kernel did not take the last address
    bool has_ll4;                  // ll4_addr is set on the link
    uint32_t ll4_addr;             // ll4.addr is another once it is in conflict
    int packet_fd, udp_fd, arp_fd; // -1: closed
    int64_t asking_ms;             // since when it has been asking without an answer; 0: it is not
    int64_t lease_end_ms;          // of `applied`, when a server gave it
    struct dhcp dhcp;
    struct dhcp_lease applied;
    struct ll4 ll4;
    struct ip6_list ip6;
    struct ip6_dns dns6;
};

extern struct nic nics[MAX_NICS];
extern char net_hostname[64]; // "": addresses are not asked for yet

/* net.c */
void nic_close(int *fd); // a watched descriptor, when it is open

/* net_lease.c */
void lease_apply(struct nic *n);            // the lease of n->dhcp
void lease_drop(struct nic *n);             // addresses and routes of IPv4
void fixed_use(const struct net_static *s); // from now on
/* True: tawny.conf has an IPv4 address for this link, which is set now, and nobody is asked. */
bool fixed_apply(struct nic *n);
void fixed_gone(struct nic *n); // the link is no more
void ll4_set(struct nic *n, bool add);
void resolv_conf_write(void);

/* net_dhcp.c */
void dhcp_begin(struct nic *n);
void dhcp_end(struct nic *n); // the cable is out, or the address is fixed
int64_t dhcp_due(struct nic *n, int64_t now);
void ll4_begin(struct nic *n); // does nothing when it is under way
void ll4_end(struct nic *n);

/* net_say.c */
const char *addr_text(uint32_t addr, char out[16]);
void say_lease(const struct nic *n);
void say_silence(struct nic *n, int64_t now); // once, when SILENT_MS are over
int64_t say_no_link(int64_t now);
void say_reachable(void); // if it is lost again, that is news again

#endif
