/* SPDX-License-Identifier: Apache-2.0
 * http_internal — connections and requests: http.c, http_gate.c. No other file of the room knows
 * libmicrohttpd. */
#pragma once
#include "serve/serve_internal.h"
#include <microhttpd.h>

/* A connection, while it is open. */
struct link {
    struct link *next, **at;
    int fd;
    double deadline; /* to be closed then; 0: it has been */
};

struct serve_http {
    struct ig_server *server;
    struct MHD_Daemon *daemon;
    int quiesced; /* the listening socket, once it is not listened to any more; or -1 */
    bool loopback;
    pthread_mutex_t lock; /* of links */
    struct link *links;
    atomic_llong busy;
};

enum route {
    ROUTE_NONE,
    ROUTE_PAGE,
    ROUTE_HEALTH,
    ROUTE_METRICS,
    ROUTE_MODELS,
    ROUTE_MODEL,
    ROUTE_CHAT,
    ROUTE_COMPLETION
};

#define REQUEST_ID_MAX 64
/* One request. */
struct exchange {
    struct serve_http *http;
    struct MHD_Connection *connection;
    struct link *link;
    enum route route;
    const char *wanted; /* of ROUTE_MODEL */
    struct ig_buf body;
    bool too_large;
    bool head; /* the method is HEAD */
    char id[REQUEST_ID_MAX + 1];
    /* of a stream */
    struct serve_reply *reply;
    struct ig_buf out;
    size_t sent;
    bool ended;
    double silent_since;
};

/* ---- http_gate.c ---- */
/* A member of the request's header, or NULL. */
const char *http__header(struct MHD_Connection *connection, const char *name);
/* The client's X-Request-Id, or a new one. */
void http__name_exchange(struct exchange *x);
/* What a browser may send: the names that it asks about, or NULL where those are no names. */
const char *http__asked_headers(struct MHD_Connection *connection);
/* wanted: the model's name, of ROUTE_MODEL. */
enum route http__find_route(const char *url, const char **wanted);
/* These refuse: requests of other sites, bodies that are too large, and all that can be known
 * before the body is read. */
bool http__check_site(const struct exchange *x, struct serve_error *error);
bool http__check_size(const struct exchange *x, struct serve_error *error);
bool http__check_exchange(struct exchange *x, const char *url, const char *method,
                          struct serve_error *error);
