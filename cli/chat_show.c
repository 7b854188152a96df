/* SPDX-License-Identifier: Apache-2.0 */
#include "chat_show.h"

#include "cli.h"

#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define DIM   "\033[2m"
#define PLAIN "\033[0m"
#define CLEAR "\r\033[K"

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int find_columns(void)
{
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

void chat_show_begin(struct chat_show *show, const bool *thinks)
{
    ig_reply_text_release(&show->parts);
    show->thinks = thinks;
    show->terminal = isatty(STDOUT_FILENO);
    show->colours = cli_colours();
    show->columns = find_columns();
    show->folded = false;
    show->started = now_seconds();
    ig_buf_clear(&show->thoughts);
}

static bool continues_character(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* The end of the thoughts, in one line. Characters count as one column: wide ones may make the line
 * break, which the next one clears. */
static void draw_thoughts(struct chat_show *show)
{
    struct ig_slice all = ig_buf_view(&show->thoughts);
    size_t from = all.len;
    int room = show->columns - 14;
    while (from > 0 && room > 0) {
        from--;
        if (!continues_character(all.ptr[from])) room--;
    }
    printf(CLEAR "%sthinking: ", show->colours ? DIM : "");
    for (size_t i = from; i < all.len; i++) {
        unsigned char c = (unsigned char)all.ptr[i];
        putchar(c < ' ' || c == 0x7F ? ' ' : c);
    }
    fputs(show->colours ? PLAIN : "", stdout);
    show->folded = true;
}

static void fold(struct chat_show *show)
{
    if (!show->folded) return;
    printf(CLEAR "%sthought for %.1f s; /thoughts tells them%s\n", show->colours ? DIM : "",
           now_seconds() - show->started, show->colours ? PLAIN : "");
    show->folded = false;
}

static void take(struct chat_show *show, struct ig_slice fresh, bool last)
{
    show->parts.thinks = *show->thinks;
    ig_reply_text_push(&show->parts, fresh, last);
    struct ig_slice reasoning = ig_buf_view(&show->parts.reasoning);
    struct ig_slice content = ig_buf_view(&show->parts.content);
    ig_buf_slice(&show->thoughts, reasoning);
    if (show->terminal) {
        if (reasoning.len > 0) draw_thoughts(show);
        if (content.len > 0 || last) fold(show);
        cli_put_text(stdout, content.ptr, content.len, true);
    }
    ig_reply_text_clear(&show->parts);
    fflush(stdout);
}

void chat_show_text(void *user, struct ig_slice fresh)
{
    struct chat_show *show = user;
    if (!show->terminal) fwrite(fresh.ptr, 1, fresh.len, stdout);
    take(show, fresh, false);
}

void chat_show_end(struct chat_show *show)
{
    take(show, ig_slice_of(""), true);
    putchar('\n');
    fflush(stdout);
}

void chat_show_release(struct chat_show *show)
{
    ig_reply_text_release(&show->parts);
    ig_buf_release(&show->thoughts);
}
