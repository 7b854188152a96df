/* SPDX-License-Identifier: Apache-2.0
 * http_gate — which requests are answered at all: their path, method, key and size.
 *
 * A browser sends requests of any site's pages to this one. Those of other sites (Origin) are
 * refused unless allowed, and on a loopback address those that were sent under another host's name
 * (Host), which is how a page gets round the former. */
#include "serve/http_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

const char *http__header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* Letters, digits and a few signs: nothing that ends a header, or that logs stumble over. */
static bool is_plain(const char *text, const char *signs, size_t most)
{
    size_t n = 0;
    for (; text[n]; n++)
        if (n == most || !(isalnum((unsigned char)text[n]) || strchr(signs, text[n]))) return false;
    return n > 0;
}

void http__name_exchange(struct exchange *x)
{
    unsigned char bytes[12];
    const char *given = http__header(x->connection, "X-Request-Id");
    if (given && is_plain(given, "-_.:", REQUEST_ID_MAX)) {
        snprintf(x->id, sizeof x->id, "%s", given);
        return;
    }
    size_t at = (size_t)snprintf(x->id, sizeof x->id, "req_");
    if (getentropy(bytes, sizeof bytes) != 0) memset(bytes, 0, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        at += (size_t)snprintf(x->id + at, sizeof x->id - at, "%02x", bytes[i]);
}

const char *http__asked_headers(struct MHD_Connection *connection)
{
    const char *asked = http__header(connection, "Access-Control-Request-Headers");
    return asked && is_plain(asked, "-_, ", 4096) ? asked : NULL;
}

enum route http__find_route(const char *url, const char **wanted)
{
    static const struct {
        const char *path;
        enum route route;
    } routes[] = {
        {"/", ROUTE_PAGE},
        {"/health", ROUTE_HEALTH},
        {"/metrics", ROUTE_METRICS},
        {"/v1/models", ROUTE_MODELS},
        {"/v1/chat/completions", ROUTE_CHAT},
        {"/v1/completions", ROUTE_COMPLETION},
    };
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(url, routes[i].path) == 0) return routes[i].route;
    if (strncmp(url, "/v1/models/", 11) == 0) {
        *wanted = url + 11;
        return ROUTE_MODEL;
    }
    return ROUTE_NONE;
}

/* In a time that does not tell how much of it is right. */
static bool same_key(const char *key, const char *given)
{
    size_t n = strlen(key), m = strlen(given);
    unsigned char different = n != m;
    for (size_t i = 0; i < n; i++)
        different |= (unsigned char)(key[i] ^ given[m ? i % m : 0]);
    return !different;
}

static bool check_key(const struct exchange *x, struct serve_error *error)
{
    const char *key = x->http->server->options.api_key;
    if (!key || x->route == ROUTE_PAGE || x->route == ROUTE_HEALTH) return true;
    const char *given = http__header(x->connection, "Authorization");
    if (given && strncasecmp(given, "Bearer ", 7) == 0 && same_key(key, given + 7)) return true;
    serve__refuse(error, 401, NULL,
                  given ? "the API key is wrong"
                        : "an API key is needed: 'Authorization: Bearer KEY'");
    error->code = "invalid_api_key";
    return false;
}

/* "127.0.0.1:8080", "localhost", "[::1]:8080": names that cannot be somebody else's; or the one
 * that was asked for. */
static bool names_loopback(const char *host, const char *own)
{
    const char *const names[] = {"localhost", "127.0.0.1", "[::1]", own};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) == 0 && (host[n] == '\0' || host[n] == ':')) return true;
    }
    return false;
}

bool http__check_site(const struct exchange *x, struct serve_error *error)
{
    const char *host = http__header(x->connection, "Host"),
               *origin = http__header(x->connection, "Origin");
    const char *allowed = x->http->server->options.origin;
    if (x->http->loopback && host && !names_loopback(host, x->http->server->options.host))
        return serve__refuse(error, 403, NULL, "'%.100s' is not a name of this server", host);
    if (!origin || (allowed && (strcmp(allowed, "*") == 0 || strcmp(allowed, origin) == 0)))
        return true;
    const char *own = strstr(origin, "://");
    if (own && host && strcmp(own + 3, host) == 0) return true;
    return serve__refuse(error, 403, NULL, "pages of '%.100s' may not ask this server", origin);
}

bool http__check_size(const struct exchange *x, struct serve_error *error)
{
    int64_t most = x->http->server->options.body_bytes_max;
    const char *length = http__header(x->connection, "Content-Length");
    if (!x->too_large && (!length || strtoull(length, NULL, 10) <= (unsigned long long)most))
        return true;
    return serve__refuse(error, 413, NULL, "the body is larger than %lld bytes", (long long)most);
}

bool http__check_exchange(struct exchange *x, const char *url, const char *method,
                          struct serve_error *error)
{
    if (!http__check_site(x, error)) return false;
    if (x->route == ROUTE_NONE)
        return serve__refuse(error, 404, NULL, "there is nothing at '%.200s'", url);
    x->head = strcmp(method, "HEAD") == 0;
    bool post = x->route >= ROUTE_CHAT;
    if (post ? strcmp(method, "POST") != 0 : strcmp(method, "GET") != 0 && !x->head)
        return serve__refuse(error, 405, NULL, "%.20s is not done at '%.200s'; %s is", method, url,
                             post ? "POST" : "GET");
    if (!check_key(x, error)) return false;
    if (post && atomic_load(&x->http->server->draining))
        return serve__refuse(error, 503, NULL, "the server is shutting down");
    return http__check_size(x, error);
}
