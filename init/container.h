/* container.h - PID 1 in a container (container.c): what tells one, whose its network is, its
 * folder and groups, and how it begins anew.
 */
#ifndef INIT_CONTAINER_H
#define INIT_CONTAINER_H

#include "init.h"

#define RESET_IN_CONTAINER "/etc/tawny.reset"

/* named: the value of `container=` in PID 1's environment, or NULL; root: "" or a faked tree.
 * False: a machine; else the manager's name (lxc, podman ...) is in out. */
bool container_find(const char *named, const char *root, char out[32]);
/* Its first label, as a host name of ours; *out stays where that is none, or stands for nobody. */
void container_hostname(const char *node, char out[64]);
bool container_begin(void); // once, before all else: finds out; true: a container
bool in_container(void);
/* Its manager starts it anew when PID 1 asks with reboot(2), and asks for that itself with SIGINT
 * (LXC, systemd-nspawn). False: others only see that PID 1 ended, and leave it at that. */
bool container_restarts(void);
/* The program of PID 1 begins anew, with nothing left of this run; returns where that is not to be:
 * something else runs on, or the network is of our making. */
void container_begin_anew(bool engine_runs);
enum status container_mounts(struct err *err);
/* Leaves a network alone that is there already; else as on a machine. */
enum status container_network(struct err *err);
bool container_network_given(void);
void container_say_urls(void);     // of a network that was given
const char *container_state(void); // the engine's folder, made and given to it
/* The groups that the engine is to have: video, render and those of the GPU's nodes under root/dev.
 * Returns how many. */
int container_groups(const char *root, gid_t *groups, int most);
/* We have groups from outside that have no number in here (podman --group-add keep-groups): who
 * sets groups anew loses them. */
bool container_keeps_groups(void);

#endif
