/* SPDX-License-Identifier: Apache-2.0
 * http — requests to the endpoint by libcurl, and the redirects to where files are stored.
 *
 * Redirects are followed here, not by curl: the token goes to the endpoint's scheme, host and port,
 * and nowhere else; from https none leads to http; and what other hosts say about digests is not
 * heard. */
#include "hub/hub_internal.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define ENDPOINT         "https://huggingface.co"
#define ENDPOINT_MAX     512
#define TOKEN_MAX        4096
#define REDIRECTS_MAX    10
#define CONNECT_SECONDS  10L /* huggingface_hub's etag_timeout */
#define STALL_SECONDS    20L
#define STALL_BYTES      1000L /* a second: less for STALL_SECONDS is no connection */
#define HEADER_BYTES_MAX ((size_t)256 << 10)
#define SKIP_BYTES_MAX   ((size_t)1 << 20) /* of a body that comes with an error */
#define RECEIVE_BYTES    ((long)512 << 10)

struct hub_http {
    CURL *easy;
    const struct hub_id *id;
    struct hub_meter *meter;
    struct curl_slist *with_token, *without; /* headers */
    bool has_token;
    char endpoint[ENDPOINT_MAX], origin[ENDPOINT_MAX];
    char said[CURL_ERROR_SIZE];
};

struct transfer { /* one answer under way */
    struct hub_http *http;
    const struct hub_call *call;
    struct hub_answer *answer;
    struct ig_err *err;
    size_t header_bytes, skipped;
    bool own, begun, failed; /* failed: err is set */
};

/* ---- set-up ---- */

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* "https://host:443", or false. */
static bool origin_of(const char *url, char out[ENDPOINT_MAX])
{
    char *scheme = NULL, *host = NULL, *port = NULL;
    CURLU *parts = curl_url();
    bool ok = parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
              curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
              curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    if (ok) {
        int n = snprintf(out, ENDPOINT_MAX, "%s://%s:%s", scheme, host, port);
        ok = n > 0 && n < ENDPOINT_MAX;
        for (char *c = out; ok && *c; c++)
            *c = (char)tolower((unsigned char)*c);
    }
    ok = ok && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
    return ok;
}

static bool read_endpoint(struct hub_http *http, struct ig_err *err)
{
    const char *set = hub__variable("HF_ENDPOINT");
    int n = snprintf(http->endpoint, sizeof http->endpoint, "%s", set ? set : ENDPOINT);
    while (n > 0 && n < ENDPOINT_MAX && http->endpoint[n - 1] == '/')
        http->endpoint[--n] = '\0';
    if (n >= ENDPOINT_MAX || !strstr(http->endpoint, "://") ||
        !origin_of(http->endpoint, http->origin))
        return ig_err_set(err, IG_ERR_USAGE, "HF_ENDPOINT is '%.100s': it must be an http address",
                          set);
    return true;
}

/* HF_TOKEN, else the file that `hf auth login` writes. "" when there is none. */
static bool read_token(char token[TOKEN_MAX], struct ig_err *err)
{
    char path[IG_PATH_MAX];
    struct ig_buf text = {0};
    const char *set = hub__variable("HF_TOKEN"),
               *off = hub__variable("HF_HUB_DISABLE_IMPLICIT_TOKEN");
    if (!set) set = hub__variable("HUGGING_FACE_HUB_TOKEN");
    token[0] = '\0';
    if (off && strcmp(off, "0") != 0) return true;
    if (!set) {
        const char *file = hub__variable("HF_TOKEN_PATH");
        if (!(file ? hub__expand(file, path, err) : hub__home("token", path, err))) return false;
        if (!ig_path_exists(path)) return true;
        if (!ig_file_read(path, TOKEN_MAX, &text, err)) return false;
        set = text.data;
    }
    while (isspace((unsigned char)*set))
        set++;
    size_t len = 0;
    while (set[len] > ' ' && set[len] < 0x7F)
        len++;
    size_t rest = strspn(set + len, " \t\r\n");
    bool ok = len < TOKEN_MAX && set[len + rest] == '\0';
    if (ok) {
        memcpy(token, set, len);
        token[len] = '\0';
    } else {
        ig_err_set(err, IG_ERR_USAGE, "the Hub's token has bytes that no token has");
    }
    ig_buf_release(&text);
    return ok;
}

static bool make_headers(struct hub_http *http, struct ig_err *err)
{
    char token[TOKEN_MAX], line[TOKEN_MAX + 32];
    if (!read_token(token, err)) return false;
    http->without = curl_slist_append(NULL, "Accept: */*");
    http->with_token = curl_slist_append(NULL, "Accept: */*");
    http->has_token = token[0] != '\0';
    if (http->has_token && http->with_token) {
        snprintf(line, sizeof line, "Authorization: Bearer %s", token);
        struct curl_slist *longer = curl_slist_append(http->with_token, line);
        if (!longer) return ig_err_nomem(err);
        http->with_token = longer;
    }
    return (http->without && http->with_token) || ig_err_nomem(err);
}

static long stall_seconds(void)
{
    const char *set = hub__variable("HF_HUB_DOWNLOAD_TIMEOUT");
    long seconds = set ? strtol(set, NULL, 10) : 0;
    return seconds > 0 && seconds < 86400 ? seconds : STALL_SECONDS;
}

static int on_time(void *user, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
    (void)total, (void)now, (void)up_total, (void)up;
    return hub__meter_tick(((struct hub_http *)user)->meter) ? 0 : 1;
}

static size_t on_header(char *line, size_t one, size_t count, void *user);
static size_t on_body(char *bytes, size_t one, size_t count, void *user);

struct hub_http *hub__http_new(const struct hub_id *id, struct hub_meter *meter, struct ig_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_curl);
    struct hub_http *http = calloc(1, sizeof *http);
    if (!http) {
        ig_err_nomem(err);
        return NULL;
    }
    http->id = id;
    http->meter = meter;
    if (!read_endpoint(http, err) || !make_headers(http, err)) goto fail;
    CURL *easy = http->easy = curl_easy_init();
    if (!easy) {
        ig_err_nomem(err);
        goto fail;
    }
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "ingot/" INGOT_VERSION);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, STALL_BYTES);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, stall_seconds());
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, RECEIVE_BYTES);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, http->said);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_time);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, http);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    return http;
fail:
    hub__http_free(http);
    return NULL;
}

void hub__http_free(struct hub_http *http)
{
    if (!http) return;
    curl_easy_cleanup(http->easy);
    curl_slist_free_all(http->with_token);
    curl_slist_free_all(http->without);
    free(http);
}

void hub__url_quote(struct ig_buf *out, struct ig_slice text, bool keep_slash)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        bool plain = (c < 0x80 && isalnum(c)) || strchr("-._~", c) || (keep_slash && c == '/');
        if (plain && c)
            ig_buf_char(out, (char)c);
        else
            ig_buf_printf(out, "%%%02X", c);
    }
}

/* ---- what comes back ---- */

static bool value_of(struct ig_slice line, const char *name, struct ig_slice *value)
{
    size_t len = strlen(name);
    if (line.len <= len || line.ptr[len] != ':' || strncasecmp(line.ptr, name, len) != 0)
        return false;
    *value = ig_slice_make(line.ptr + len + 1, line.len - len - 1);
    while (value->len && strchr(" \t", value->ptr[0]))
        *value = ig_slice_make(value->ptr + 1, value->len - 1);
    while (value->len && strchr(" \t\r\n", value->ptr[value->len - 1]))
        value->len--;
    return true;
}

/* Printable bytes only: it goes into messages. */
static void keep_text(char *out, size_t size, struct ig_slice value)
{
    size_t n = 0;
    for (size_t i = 0; i < value.len && n + 1 < size; i++)
        if (value.ptr[i] >= ' ' && value.ptr[i] < 0x7F) out[n++] = value.ptr[i];
    out[n] = '\0';
}

static int64_t number_of(struct ig_slice value)
{
    int64_t n = 0;
    for (size_t i = 0; i < value.len; i++) {
        int digit = value.ptr[i] - '0';
        if (digit < 0 || digit > 9 || i > 17) return -1;
        n = 10 * n + digit;
    }
    return value.len ? n : -1;
}

/* W/"hex" or "hex": as _normalize_etag. */
static void keep_digest(struct hub_answer *answer, struct ig_slice value, bool linked)
{
    while (value.len && strchr("W/\"", value.ptr[0]))
        value = ig_slice_make(value.ptr + 1, value.len - 1);
    while (value.len && value.ptr[value.len - 1] == '"')
        value.len--;
    if (!hub__is_hex(value, linked ? 64 : 40) || (answer->linked && !linked)) return;
    keep_text(answer->digest, sizeof answer->digest, value);
    answer->linked = linked;
}

/* "bytes 7-41/42" or "bytes 7-41/\*" */
static void keep_range(struct hub_answer *answer, struct ig_slice value)
{
    unsigned long long first, last, total;
    char text[100], end;
    keep_text(text, sizeof text, value);
    answer->ranged = sscanf(text, "bytes %18llu-%18llu/%c", &first, &last, &end) == 3;
    if (!answer->ranged) return;
    answer->range_first = first;
    answer->range_total = UINT64_MAX;
    if (sscanf(text, "bytes %*[0-9]-%*[0-9]/%18llu", &total) == 1) answer->range_total = total;
}

/* RateLimit: "api";r=0;t=55 — the Hub's way to say how long. */
static void keep_rate_limit(struct hub_answer *answer, struct ig_slice value)
{
    char text[200];
    keep_text(text, sizeof text, value);
    const char *at = strstr(text, "t=");
    if (at && strstr(text, "r=0") && answer->retry_after < 0) answer->retry_after = atoi(at + 2);
}

static void hear(struct transfer *t, struct ig_slice line)
{
    struct hub_answer *a = t->answer;
    struct ig_slice value;
    if (value_of(line, "content-range", &value)) keep_range(a, value);
    if (!t->own) return;
    if (value_of(line, "ratelimit", &value)) keep_rate_limit(a, value);
    if (value_of(line, "x-linked-etag", &value)) keep_digest(a, value, true);
    if (value_of(line, "etag", &value)) keep_digest(a, value, false);
    if (value_of(line, "x-linked-size", &value)) a->linked_bytes = number_of(value);
    if (value_of(line, "x-repo-commit", &value) && hub__is_hex(value, 40))
        keep_text(a->commit, sizeof a->commit, value);
    if (value_of(line, "x-error-code", &value)) keep_text(a->code, sizeof a->code, value);
    if (value_of(line, "x-error-message", &value)) keep_text(a->message, sizeof a->message, value);
}

static size_t on_header(char *line, size_t one, size_t count, void *user)
{
    struct transfer *t = user;
    t->header_bytes += one * count;
    if (t->header_bytes > HEADER_BYTES_MAX) {
        t->failed = true;
        ig_err_set(t->err, IG_ERR_DATA, "the server's headers do not end");
        return 0;
    }
    hear(t, ig_slice_make(line, one * count));
    return one * count;
}

static bool begin(struct transfer *t)
{
    curl_off_t length = -1;
    curl_easy_getinfo(t->http->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    t->answer->length = length;
    t->begun = true;
    return !t->call->begin || t->call->begin(t->call->user, t->answer, t->err);
}

static size_t on_body(char *bytes, size_t one, size_t count, void *user)
{
    struct transfer *t = user;
    size_t size = one * count;
    curl_easy_getinfo(t->http->easy, CURLINFO_RESPONSE_CODE, &t->answer->status);
    if (t->answer->status / 100 != 2) {
        t->skipped += size;
        return t->skipped > SKIP_BYTES_MAX ? 0 : size;
    }
    if ((!t->begun && !begin(t)) || !t->call->body(t->call->user, bytes, size, t->err)) {
        t->failed = true;
        return 0;
    }
    return size;
}

/* ---- a request ---- */

static enum hub_outcome explain(struct hub_http *http, CURLcode code, struct ig_err *err)
{
    const char *said = http->said[0] ? http->said : curl_easy_strerror(code);
    switch (code) {
    case CURLE_ABORTED_BY_CALLBACK: hub__stopped(err); return HUB_FAILED;
    case CURLE_OUT_OF_MEMORY: ig_err_nomem(err); return HUB_FAILED;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        ig_err_set(err, IG_ERR_IO,
                   "cannot reach the Hub at %.100s (%s): check the connection, the proxy, "
                   "HF_ENDPOINT",
                   http->endpoint, said);
        return HUB_AGAIN;
    case CURLE_OPERATION_TIMEDOUT:
        ig_err_set(err, IG_ERR_IO, "the connection stalled (%s)", said);
        return HUB_AGAIN;
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    case CURLE_SSL_CONNECT_ERROR:
        ig_err_set(err, IG_ERR_IO, "the connection broke (%s)", said);
        return HUB_AGAIN;
    default: ig_err_set(err, IG_ERR_IO, "the download failed: %s", said); return HUB_FAILED;
    }
}

static enum hub_outcome one_answer(struct hub_http *http, const struct hub_call *call,
                                   const char *url, struct hub_answer *answer, struct ig_err *err)
{
    CURL *easy = http->easy;
    char origin[ENDPOINT_MAX], range[32];
    if (!origin_of(url, origin) ||
        (strncmp(http->origin, "https", 5) == 0 && strncmp(origin, "https", 5) != 0)) {
        ig_err_set(err, IG_ERR_DATA, "the server redirects to '%.100s': refused", url);
        return HUB_FAILED;
    }
    struct transfer t = {.http = http, .call = call, .answer = answer, .err = err};
    t.own = answer->own = strcmp(origin, http->origin) == 0;
    answer->ranged = false;
    answer->length = -1;
    http->said[0] = '\0';
    snprintf(range, sizeof range, "%llu-", (unsigned long long)call->from);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t.own ? http->with_token : http->without);
    curl_easy_setopt(easy, CURLOPT_RANGE, call->from ? range : NULL);
    curl_easy_setopt(easy, CURLOPT_NOBODY, (long)call->head);
    if (!call->head) curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, &t);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &t);
    CURLcode code = curl_easy_perform(easy);
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer->status);
    if (t.failed) return HUB_FAILED;
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && t.skipped))
        return explain(http, code, err);
    curl_off_t wait = 0;
    curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &wait);
    if (wait > 0) answer->retry_after = (double)wait;
    if (answer->status / 100 == 2 && !t.begun && !begin(&t)) return HUB_FAILED;
    return HUB_DONE;
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static enum hub_outcome follow(struct hub_http *http, const struct hub_call *call, char **url,
                               struct hub_answer *answer, struct ig_err *err)
{
    for (int hop = 0; hop <= REDIRECTS_MAX; hop++) {
        char origin[ENDPOINT_MAX], *next = NULL;
        enum hub_outcome outcome = one_answer(http, call, *url, answer, err);
        if (outcome != HUB_DONE) return outcome;
        if (is_redirect(answer->status))
            curl_easy_getinfo(http->easy, CURLINFO_REDIRECT_URL, &next);
        bool stay =
            call->head && next && origin_of(next, origin) && strcmp(origin, http->origin) != 0;
        if (answer->status / 100 == 2 || stay) return HUB_DONE;
        if (!next) return hub__refusal(http->id, http->endpoint, http->has_token, answer, err);
        char *copy = strdup(next);
        if (!copy) {
            ig_err_nomem(err);
            return HUB_FAILED;
        }
        free(*url);
        *url = copy;
    }
    ig_err_set(err, IG_ERR_DATA, "the server redirects more than %d times", REDIRECTS_MAX);
    return HUB_FAILED;
}

enum hub_outcome hub__http_call(struct hub_http *http, const struct hub_call *call,
                                struct hub_answer *answer, struct ig_err *err)
{
    size_t size = strlen(http->endpoint) + strlen(call->path) + 1;
    char *url = malloc(size);
    *answer = (struct hub_answer){.length = -1, .linked_bytes = -1, .retry_after = -1};
    if (!url) {
        ig_err_nomem(err);
        return HUB_FAILED;
    }
    snprintf(url, size, "%s%s", http->endpoint, call->path);
    enum hub_outcome outcome = follow(http, call, &url, answer, err);
    free(url);
    return outcome;
}
