/* SPDX-License-Identifier: Apache-2.0
 * http — requests and answers over libmicrohttpd. A thread for each connection reads a request,
 * has it answered, and writes; what a client can make it hold or wait for is bounded: header and
 * body by bytes and by seconds, connections by number.
 */
#include "serve/http_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/port.h"

#define HEADER_BYTES  32768 /* a connection's memory: request line, header, pieces of the body */
#define WAIT_SECONDS  0.25  /* between looks at whether the client is still there */
#define SIGN_SECONDS  10.0  /* of silence, then a comment goes out, so that nobody hangs up */
#define WRITE_SECONDS 60    /* that a client may take nothing of what is written */
#define STREAM_BLOCK  16384
#define FILES_BESIDE  32 /* descriptors that are not connections' */

/* ---- answers ---- */

static void add_headers(const struct exchange *x, struct MHD_Response *response, const char *type)
{
    const char *origin = http__header(x->connection, "Origin");
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Request-Id", x->id);
    if (origin && x->http->server->options.origin) {
        MHD_add_response_header(response, "Access-Control-Allow-Origin", origin);
        MHD_add_response_header(response, "Access-Control-Expose-Headers",
                                "X-Request-Id, Retry-After");
        MHD_add_response_header(response, "Vary", "Origin");
    }
}

static enum MHD_Result queue(struct exchange *x, int status, struct MHD_Response *response)
{
    if (!response) return MHD_NO;
    atomic_fetch_add(&x->http->server->answers[status], 1);
    enum MHD_Result result = MHD_queue_response(x->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_text(struct exchange *x, int status, const char *type,
                                 const struct ig_buf *text)
{
    struct ig_slice view = ig_buf_view(text);
    if (text->failed) return MHD_NO;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        view.len, (void *)(uintptr_t)view.ptr, MHD_RESPMEM_MUST_COPY);
    if (response) add_headers(x, response, type);
    return queue(x, status, response);
}

static enum MHD_Result send_error(struct exchange *x, const struct serve_error *error)
{
    struct ig_buf text = {0};
    serve__write_error(&text, error);
    struct ig_slice view = ig_buf_view(&text);
    struct MHD_Response *response =
        text.failed ? NULL
                    : MHD_create_response_from_buffer(view.len, (void *)(uintptr_t)view.ptr,
                                                      MHD_RESPMEM_MUST_COPY);
    if (response) {
        add_headers(x, response, "application/json");
        if (error->status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
        if (error->status == 405)
            MHD_add_response_header(
                response, "Allow", x->route >= ROUTE_CHAT ? "POST, OPTIONS" : "GET, HEAD, OPTIONS");
        if (error->status == 429 || error->status == 503)
            MHD_add_response_header(response, "Retry-After", "1");
    }
    ig_buf_release(&text);
    return queue(x, error->status, response);
}

static enum MHD_Result send_page(struct exchange *x)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        serve__page_bytes, (void *)(uintptr_t)serve__page, MHD_RESPMEM_PERSISTENT);
    if (response) {
        add_headers(x, response, "text/html; charset=utf-8");
        MHD_add_response_header(response, "Content-Security-Policy",
                                "default-src 'none'; style-src 'unsafe-inline'; script-src "
                                "'unsafe-inline'; connect-src 'self'; img-src data:; base-uri "
                                "'none'; form-action 'none'; frame-ancestors 'none'");
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    return queue(x, 200, response);
}

/* OPTIONS: what a browser asks before it sends another site's request, with whatever headers its
 * library adds; and what may be done here, for others. */
static enum MHD_Result send_preflight(struct exchange *x)
{
    const char *asked = http__asked_headers(x->connection);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    if (response) {
        add_headers(x, response, "text/plain");
        MHD_add_response_header(response, "Allow",
                                x->route >= ROUTE_CHAT ? "POST, OPTIONS" : "GET, HEAD, OPTIONS");
    }
    if (response && x->http->server->options.origin) {
        MHD_add_response_header(response, "Access-Control-Allow-Methods", "GET, POST");
        MHD_add_response_header(response, "Access-Control-Allow-Headers",
                                asked ? asked : "Authorization, Content-Type");
        MHD_add_response_header(response, "Access-Control-Max-Age", "600");
    }
    return queue(x, 204, response);
}

/* ---- replies ---- */

/* The client has closed its end. */
static bool is_gone(const struct exchange *x)
{
    struct pollfd p = {.fd = x->link ? x->link->fd : -1, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* Fills x->out with what is next. */
static void next_events(struct exchange *x)
{
    struct serve_reply *r = x->reply;
    ig_buf_clear(&x->out);
    x->sent = 0;
    while (x->out.len == 0 && !x->ended) {
        serve__reply_advance(r, WAIT_SECONDS);
        if (!r->failed) serve__write_delta(r, &x->out);
        if (r->finish) {
            serve__write_ending(r, &x->out);
            x->ended = true;
        }
        double now = ig_clock_seconds();
        if (x->out.len > 0) {
            x->silent_since = now;
        } else if (now - x->silent_since > SIGN_SECONDS) {
            ig_buf_text(&x->out, ": waiting\n\n");
            x->silent_since = now;
        }
        if (x->out.failed || is_gone(x)) {
            ig_buf_clear(&x->out);
            x->ended = true;
        }
    }
}

static ssize_t read_stream(void *user, uint64_t at, char *to, size_t most)
{
    (void)at;
    struct exchange *x = user;
    if (x->sent == x->out.len && !x->ended) next_events(x);
    size_t count = x->out.len - x->sent;
    if (count == 0) return MHD_CONTENT_READER_END_OF_STREAM;
    if (count > most) count = most;
    memcpy(to, x->out.data + x->sent, count);
    x->sent += count;
    return (ssize_t)count;
}

static enum MHD_Result send_stream(struct exchange *x)
{
    serve__write_opening(x->reply, &x->out);
    x->silent_since = ig_clock_seconds();
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_stream, x, NULL);
    if (response) {
        add_headers(x, response, "text/event-stream");
        MHD_add_response_header(response, "X-Accel-Buffering", "no"); /* nginx passes it on */
    }
    return queue(x, 200, response);
}

static enum MHD_Result send_whole(struct exchange *x)
{
    struct ig_buf text = {0};
    while (!x->reply->finish) {
        serve__reply_advance(x->reply, WAIT_SECONDS);
        if (!x->reply->finish && is_gone(x)) return MHD_NO;
    }
    if (x->reply->failed) return send_error(x, &x->reply->error);
    serve__write_answer(x->reply, &text);
    enum MHD_Result result = send_text(x, 200, "application/json", &text);
    ig_buf_release(&text);
    return result;
}

static enum MHD_Result answer_post(struct exchange *x)
{
    struct serve_error error = {0};
    struct ig_server *server = x->http->server;
    if (!http__check_size(x, &error)) return send_error(x, &error);
    x->reply = calloc(1, sizeof *x->reply);
    if (!x->reply) return MHD_NO;
    bool ok =
        serve__reply_begin(server, ig_buf_view(&x->body), x->route == ROUTE_CHAT, x->reply, &error);
    ig_buf_release(&x->body);
    if (!ok) return send_error(x, &error);
    return x->reply->request.stream ? send_stream(x) : send_whole(x);
}

static bool names_model(const struct ig_server *server, const char *wanted)
{
    char name[sizeof server->name];
    if (strlen(wanted) >= sizeof name) return false;
    snprintf(name, sizeof name, "%s", wanted);
    return MHD_http_unescape(name) == strlen(server->name) && strcmp(name, server->name) == 0;
}

static enum MHD_Result answer_get(struct exchange *x)
{
    struct serve_error error = {0};
    struct ig_server *server = x->http->server;
    struct ig_buf text = {0};
    int status = 200;
    const char *type = "application/json";
    if (x->route == ROUTE_PAGE) return send_page(x);
    if (x->route == ROUTE_MODEL && !names_model(server, x->wanted)) {
        serve__refuse(&error, 404, "model", "the model '%.200s' is not here; '%s' is", x->wanted,
                      server->name);
        error.code = "model_not_found";
        return send_error(x, &error);
    }
    if (x->route == ROUTE_HEALTH) {
        bool draining = atomic_load(&server->draining);
        ig_buf_printf(&text, "{\"status\":\"%s\"}", draining ? "draining" : "ok");
        if (draining) status = 503;
    } else if (x->route == ROUTE_METRICS) {
        type = "text/plain; version=0.0.4; charset=utf-8";
        serve__write_metrics(server, &text);
    } else {
        serve__write_models(server, x->route == ROUTE_MODEL, &text);
    }
    enum MHD_Result result = send_text(x, status, type, &text);
    ig_buf_release(&text);
    return result;
}

/* ---- what libmicrohttpd calls ---- */

static void set_deadline(struct serve_http *http, struct link *link, double seconds)
{
    if (!link) return;
    pthread_mutex_lock(&http->lock);
    link->deadline = seconds > 0 ? ig_clock_seconds() + seconds : 0;
    pthread_mutex_unlock(&http->lock);
}

static struct link *link_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static struct exchange *exchange_new(struct serve_http *http, struct MHD_Connection *connection)
{
    struct exchange *x = calloc(1, sizeof *x);
    if (!x) return NULL;
    x->http = http;
    x->connection = connection;
    x->link = link_of(connection);
    http__name_exchange(x);
    x->body.len_max = (size_t)http->server->options.body_bytes_max + 1;
    atomic_fetch_add(&http->busy, 1);
    return x;
}

static void exchange_free(struct exchange *x)
{
    if (x->reply) serve__reply_release(x->reply);
    free(x->reply);
    ig_buf_release(&x->body);
    ig_buf_release(&x->out);
    atomic_fetch_sub(&x->http->busy, 1);
    free(x);
}

static enum MHD_Result begin(struct exchange *x, const char *url, const char *method)
{
    struct serve_error error = {0};
    set_deadline(x->http, x->link, x->http->server->options.idle_seconds);
    x->route = http__find_route(url, &x->wanted);
    if (strcmp(method, "OPTIONS") == 0 && x->route != ROUTE_NONE && http__check_site(x, &error))
        return send_preflight(x);
    if (!http__check_exchange(x, url, method, &error)) return send_error(x, &error);
    return MHD_YES;
}

/* Nothing of the body that is too large is kept; of one that goes on for ever the connection is
 * closed when its time is over. */
static enum MHD_Result take_body(struct exchange *x, const char *data, size_t *size)
{
    size_t most = (size_t)x->http->server->options.body_bytes_max;
    if (x->too_large || *size > most - x->body.len) {
        x->too_large = true;
        ig_buf_release(&x->body);
    } else {
        ig_buf_append(&x->body, data, *size);
        if (x->body.failed) return MHD_NO;
    }
    *size = 0;
    return MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload_data,
                                  size_t *upload_size, void **state)
{
    (void)version;
    struct exchange *x = *state;
    if (!x) {
        x = exchange_new(user, connection);
        *state = x;
        return x ? begin(x, url, method) : MHD_NO;
    }
    if (*upload_size > 0) return take_body(x, upload_data, upload_size);
    /* A stream that is not read ends with the request's time. */
    set_deadline(x->http, x->link, x->http->server->options.request_seconds + WRITE_SECONDS);
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
    enum MHD_Result result = x->route >= ROUTE_CHAT ? answer_post(x) : answer_get(x);
    if (!x->reply || !x->reply->request.stream)
        MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                  (unsigned)WRITE_SECONDS);
    return result;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct serve_http *http = user;
    (void)why;
    if (*state) exchange_free(*state);
    *state = NULL;
    set_deadline(http, link_of(connection), http->server->options.idle_seconds);
}

static void on_connection(void *user, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode code)
{
    struct serve_http *http = user;
    struct link *link = *state;
    pthread_mutex_lock(&http->lock);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        link = calloc(1, sizeof *link);
        if (link) {
            link->fd =
                MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
            link->deadline = ig_clock_seconds() + http->server->options.idle_seconds;
            link->next = http->links;
            link->at = &http->links;
            if (link->next) link->next->at = &link->next;
            http->links = link;
        }
        *state = link;
    } else if (link) {
        *link->at = link->next;
        if (link->next) link->next->at = link->at;
        free(link);
        *state = NULL;
    }
    pthread_mutex_unlock(&http->lock);
}

/* "/%00" is not "/". */
static size_t as_it_is(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return strlen(text);
}

static void silent(void *user, const char *format, va_list args)
{
    (void)user; /* the library never prints */
    (void)format;
    (void)args;
}

/* ---- life ---- */

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)address;
        return ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    const struct sockaddr_in6 *in = (const void *)address;
    return IN6_IS_ADDR_LOOPBACK(&in->sin6_addr);
}

/* As many as there are file descriptors for, beside those of the rest: where these end, connections
 * could not even be closed. */
static unsigned connections_of(const struct ig_serve_options *o)
{
    struct rlimit limit;
    int64_t most = o->connections_max;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)most + FILES_BESIDE)
        most = (int64_t)limit.rlim_cur - FILES_BESIDE;
    return most < 1 ? 1 : (unsigned)most;
}

static bool start(struct serve_http *http, const struct addrinfo *address, struct ig_err *err)
{
    const struct ig_serve_options *o = &http->server->options;
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    if (address->ai_family == AF_INET6) flags |= MHD_USE_IPv6;
    http->loopback = is_loopback(address->ai_addr);
    errno = 0;
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http, MHD_OPTION_EXTERNAL_LOGGER, silent, NULL,
        MHD_OPTION_SOCK_ADDR, address->ai_addr, MHD_OPTION_CONNECTION_LIMIT, connections_of(o),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADER_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)WRITE_SECONDS, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK,
        as_it_is, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
    if (!http->daemon)
        return ig_err_errno(err, errno ? errno : EADDRINUSE, "cannot listen on %s, port %lld",
                            o->host, (long long)o->port);
    unsigned port = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    bool bare6 = address->ai_family == AF_INET6 && strchr(o->host, ':');
    snprintf(http->server->url, sizeof http->server->url, "http://%s%.200s%s:%u", bare6 ? "[" : "",
             o->host, bare6 ? "]" : "", port);
    return true;
}

bool serve__http_new(struct ig_server *server, struct serve_http **out, struct ig_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found = NULL;
    char port[24];
    struct serve_http *http = calloc(1, sizeof *http);
    if (!http) return ig_err_nomem(err);
    http->server = server;
    http->quiesced = -1;
    pthread_mutex_init(&http->lock, NULL);
    snprintf(port, sizeof port, "%lld", (long long)server->options.port);
    int failed = getaddrinfo(server->options.host, port, &hints, &found);
    bool ok = failed == 0 || ig_err_set(err, IG_ERR_USAGE, "the host '%s': %s",
                                        server->options.host, gai_strerror(failed));
    ok = ok && start(http, found, err);
    if (found) freeaddrinfo(found);
    if (ok)
        *out = http;
    else
        serve__http_free(http);
    return ok;
}

void serve__http_tick(struct serve_http *http)
{
    double now = ig_clock_seconds();
    pthread_mutex_lock(&http->lock);
    for (struct link *link = http->links; link; link = link->next) {
        if (link->deadline == 0 || now < link->deadline) continue;
        shutdown(link->fd, SHUT_RDWR); /* its thread sees that, and closes it */
        link->deadline = 0;
    }
    pthread_mutex_unlock(&http->lock);
}

void serve__http_quiesce(struct serve_http *http)
{
    if (http->quiesced >= 0) return;
    http->quiesced = MHD_quiesce_daemon(http->daemon);
    /* It may be closed only at the end; new clients must not wait in its queue until then. */
    if (http->quiesced >= 0) shutdown(http->quiesced, SHUT_RDWR);
}

int64_t serve__http_busy(struct serve_http *http)
{
    return atomic_load(&http->busy);
}

void serve__http_free(struct serve_http *http)
{
    if (!http) return;
    if (http->daemon) MHD_stop_daemon(http->daemon);
    if (http->quiesced >= 0) close(http->quiesced);
    pthread_mutex_destroy(&http->lock);
    free(http);
}
