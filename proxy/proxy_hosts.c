/* SPDX-License-Identifier: PostgreSQL
 *
 * proxy_hosts: see the header.
 *
 * Happy path: hosts_ask -> run_next -> on_name (reverse) -> on_addresses (forward) -> known ->
 * on_known of all who wait for this address.
 * Failure modes: no name, a name that leads elsewhere, a resolver that fails: there is no name, and
 * that is remembered for less long. All who wait have left: not asked, or remembered unheard.
 */
#include "proxy_hosts.h"

#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE_MAX = 256 };
static const uint64_t remember_ns = 10000000000;
static const uint64_t remember_none_ns = 2000000000;

enum entry_state { ENTRY_WANTED, ENTRY_RUNNING, ENTRY_KNOWN };

struct hosts_entry {
    TAILQ_ENTRY(hosts_entry) link;
    TAILQ_HEAD(, hosts_wait) waiters;
    struct hosts *hosts;
    enum entry_state state;
    uint64_t expires_ns;
    union {
        uv_getnameinfo_t reverse;
        uv_getaddrinfo_t forward;
    } request;
    uint8_t address[16];
    char name[NAME_SIZE_MAX]; /* "": none */
};
TAILQ_HEAD(entry_list, hosts_entry);

struct hosts {
    uv_loop_t *loop;
    struct entry_list lists[ENTRY_KNOWN + 1]; /* by state, oldest first */
    uint32_t count, running;
    bool stopped;
};

/* ---- entries ---- */

static void entry_move(struct hosts_entry *e, enum entry_state state)
{
    struct hosts *h = e->hosts;
    h->running -= e->state == ENTRY_RUNNING;
    h->running += state == ENTRY_RUNNING;
    TAILQ_REMOVE(&h->lists[e->state], e, link);
    e->state = state;
    TAILQ_INSERT_TAIL(&h->lists[state], e, link);
}

static void entry_free(struct hosts_entry *e)
{
    assert(TAILQ_EMPTY(&e->waiters));
    assert(e->state != ENTRY_RUNNING);
    TAILQ_REMOVE(&e->hosts->lists[e->state], e, link);
    e->hosts->count--;
    free(e);
}

/* Not one that has expired: that goes. */
static struct hosts_entry *entry_find(struct hosts *h, const uint8_t address[16], uint64_t now_ns)
{
    struct hosts_entry *e;
    for (uint32_t state = ENTRY_WANTED; state <= ENTRY_KNOWN; state++)
        TAILQ_FOREACH (e, &h->lists[state], link) {
            if (memcmp(e->address, address, sizeof(e->address)) != 0)
                continue;
            if (e->state != ENTRY_KNOWN || now_ns < e->expires_ns || !TAILQ_EMPTY(&e->waiters))
                return e;
            entry_free(e);
            return NULL;
        }
    return NULL;
}

/* The oldest that is only remembered makes room. NULL: there is none. */
static struct hosts_entry *entry_make(struct hosts *h, const uint8_t address[16])
{
    struct hosts_entry *oldest = TAILQ_FIRST(&h->lists[ENTRY_KNOWN]);
    if (h->count == HOSTS_MAX && (oldest == NULL || !TAILQ_EMPTY(&oldest->waiters)))
        return NULL;
    if (h->count == HOSTS_MAX)
        entry_free(oldest);
    struct hosts_entry *e = calloc(1, sizeof(*e));
    if (e == NULL)
        abort();
    TAILQ_INIT(&e->waiters);
    e->hosts = h;
    memcpy(e->address, address, sizeof(e->address));
    TAILQ_INSERT_TAIL(&h->lists[ENTRY_WANTED], e, link);
    h->count++;
    return e;
}

/* ---- looking up ---- */

static void run_next(struct hosts *h);

static void known(struct hosts_entry *e, bool is_named)
{
    struct hosts *h = e->hosts;
    struct hosts_wait *wait;
    if (!is_named)
        e->name[0] = '\0';
    e->expires_ns = uv_hrtime() + (is_named ? remember_ns : remember_none_ns);
    entry_move(e, ENTRY_KNOWN);
    while ((wait = TAILQ_FIRST(&e->waiters)) != NULL) {
        hosts_forget(wait);
        wait->on_known(wait, is_named ? e->name : NULL);
    }
    run_next(h);
}

static bool is_v4(const struct hosts_entry *e)
{
    return IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)e->address);
}

static bool leads_back(const struct hosts_entry *e, const struct addrinfo *found)
{
    const void *address = NULL;
    if (is_v4(e) && found->ai_family == AF_INET)
        address = &((const struct sockaddr_in *)(const void *)found->ai_addr)->sin_addr;
    else if (!is_v4(e) && found->ai_family == AF_INET6)
        address = &((const struct sockaddr_in6 *)(const void *)found->ai_addr)->sin6_addr;
    return address != NULL &&
           memcmp(address, is_v4(e) ? e->address + 12 : e->address, is_v4(e) ? 4 : 16) == 0;
}

static void on_addresses(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct hosts_entry *e = request->data;
    bool is_named = false;
    for (const struct addrinfo *i = status == 0 ? found : NULL; i != NULL; i = i->ai_next)
        is_named = is_named || leads_back(e, i);
    uv_freeaddrinfo(found);
    known(e, is_named);
}

static void on_name(uv_getnameinfo_t *request, int status, const char *name, const char *service)
{
    (void)service;
    struct hosts_entry *e = request->data;
    const size_t size = status == 0 ? strlen(name) : 0;
    if (size == 0 || size >= sizeof(e->name) || e->hosts->stopped) {
        known(e, false);
        return;
    }
    memcpy(e->name, name, size + 1); /* `name` is in the request, which the next one takes */
    const struct addrinfo hints = {.ai_family = is_v4(e) ? AF_INET : AF_INET6,
                                   .ai_socktype = SOCK_STREAM};
    e->request.forward = (uv_getaddrinfo_t){.data = e};
    if (uv_getaddrinfo(e->hosts->loop, &e->request.forward, on_addresses, e->name, NULL, &hints) !=
        0)
        known(e, false);
}

static int reverse(struct hosts_entry *e)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    memcpy(&v4.sin_addr, e->address + 12, 4);
    memcpy(&v6.sin6_addr, e->address, 16);
    e->request.reverse = (uv_getnameinfo_t){.data = e};
    return uv_getnameinfo(e->hosts->loop, &e->request.reverse, on_name,
                          is_v4(e) ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6,
                          NI_NAMEREQD);
}

static void run_next(struct hosts *h)
{
    struct hosts_entry *e;
    while (h->running < HOSTS_RUNNING && !h->stopped &&
           (e = TAILQ_FIRST(&h->lists[ENTRY_WANTED])) != NULL) {
        if (TAILQ_EMPTY(&e->waiters)) {
            entry_free(e);
            continue;
        }
        entry_move(e, ENTRY_RUNNING);
        const int r = reverse(e);
        assert(r == 0); /* fails only for an address of neither kind */
    }
}

/* ---- front door ---- */

bool hosts_ask(struct hosts *h, const uint8_t address[16], struct hosts_wait *wait, uint64_t now_ns)
{
    assert(wait->entry == NULL);
    struct hosts_entry *e = entry_find(h, address, now_ns);
    if (e != NULL && e->state == ENTRY_KNOWN && TAILQ_EMPTY(&e->waiters)) {
        wait->on_known(wait, e->name[0] != '\0' ? e->name : NULL);
        return true;
    }
    if (e == NULL && !h->stopped)
        e = entry_make(h, address);
    if (e == NULL)
        return false;
    wait->entry = e;
    TAILQ_INSERT_TAIL(&e->waiters, wait, link);
    run_next(h);
    return true;
}

void hosts_forget(struct hosts_wait *wait)
{
    assert(wait->entry != NULL);
    TAILQ_REMOVE(&wait->entry->waiters, wait, link);
    wait->entry = NULL;
}

struct hosts *hosts_create(uv_loop_t *loop)
{
    struct hosts *h = calloc(1, sizeof(*h));
    if (h == NULL)
        abort();
    h->loop = loop;
    for (uint32_t state = ENTRY_WANTED; state <= ENTRY_KNOWN; state++)
        TAILQ_INIT(&h->lists[state]);
    return h;
}

void hosts_stop(struct hosts *h)
{
    struct hosts_entry *e;
    if (h == NULL)
        return;
    h->stopped = true;
    TAILQ_FOREACH (e, &h->lists[ENTRY_RUNNING], link)
        (void)uv_cancel((uv_req_t *)&e->request);
}

void hosts_destroy(struct hosts *h)
{
    struct hosts_entry *next;
    if (h == NULL)
        return;
    assert(h->running == 0);
    for (uint32_t state = ENTRY_WANTED; state <= ENTRY_KNOWN; state++)
        for (struct hosts_entry *e = TAILQ_FIRST(&h->lists[state]); e != NULL; e = next) {
            next = TAILQ_NEXT(e, link);
            entry_free(e);
        }
    free(h);
}
