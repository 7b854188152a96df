/* SPDX-License-Identifier: Apache-2.0
 * main — finds the command, parses its options, runs it, reports its error. */
#include "cli.h"
#include "cli_commands.h"
#include "ingot/tensor.h"
#include "models.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>

#define DECLARE(word) extern const struct cli_command cli_##word;
CLI_COMMANDS(DECLARE)
#define ROW(word) &cli_##word,
const struct cli_command *const cli_commands[] = {CLI_COMMANDS(ROW) NULL};

#define COMMAND_COUNT (sizeof cli_commands / sizeof *cli_commands - 1)

static void print_usage(FILE *to)
{
    fputs("ingot " INGOT_VERSION ": merge, quantise, compare and run language models\n\n"
          "usage: ingot COMMAND ..\n\n",
          to);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-14s%s\n", cli_commands[i]->name, cli_commands[i]->summary);
    fputs("\n'ingot COMMAND --help' tells its options and gives an example.\n"
          "IG_KERNELS=ref|avx2|avxvnni|avx512vnni|avx512|neon forces a path; merged and quantised "
          "bytes stay the same.\n",
          to);
}

static void print_help(const struct cli_command *command)
{
    struct ig_buf text = {0};
    ig_buf_printf(&text, "ingot %s: %s\n\nusage: ingot %s", command->name, command->summary,
                  command->name);
    ig_opt_synopsis(command->options, &text);
    ig_buf_text(&text, "\n\n");
    ig_opt_help(command->options, &text);
    ig_buf_printf(&text, "\nexample:\n  %s\n", command->example);
    fputs(text.data ? text.data : "", stdout);
    ig_buf_release(&text);
}

static const struct cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(cli_commands[i]->name, name) == 0) return cli_commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[COMMAND_COUNT + 1];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = cli_commands[i]->name;
    names[COMMAND_COUNT] = NULL;
    const char *near = ig_opt_nearest(ig_slice_of(name), names);
    fprintf(stderr, "ingot: unknown command '%s'", name);
    if (near) fprintf(stderr, "; did you mean %s?", near);
    fputs("\n'ingot --help' lists the commands\n", stderr);
    return 2;
}

static int report_error(const struct cli_command *command, bool json, const struct ig_err *err)
{
    cli_watch_clear();
    if (json) {
        struct ig_buf text = {0};
        struct ig_err ignored;
        struct ig_json_writer w = {.out = &text};
        ig_json_open(&w, '{');
        ig_json_key(&w, "error");
        ig_json_open(&w, '{');
        ig_json_key(&w, "code");
        ig_json_put_text(&w, ig_slice_of(ig_code_name(err->code)));
        ig_json_key(&w, "message");
        ig_json_put_text(&w, ig_slice_of(err->text));
        ig_json_close(&w, '}');
        ig_json_close(&w, '}');
        if (!cli_print_json(&text, &ignored)) fputs(ignored.text, stderr);
        ig_buf_release(&text);
    }
    fprintf(stderr, "ingot %s: %s\n", command->name, err->text);
    if (err->code == IG_ERR_USAGE) fprintf(stderr, "'ingot %s --help' tells more\n", command->name);
    if (err->code == IG_ERR_CANCELLED && cli_interrupted()) return CLI_STOPPED;
    return err->code == IG_ERR_USAGE ? 2 : 1;
}

/* --json counts even when the rest of the line cannot be parsed. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

static struct ig_dist *ranks;

struct ig_dist *cli_dist(void)
{
    return ranks;
}

/* Whether all ranks work on it; any other command is rank 0's alone. */
static bool is_shared(const struct cli_command *command)
{
    static const char *const names[] = {"merge", "expand", "extract", "quantize", "eval"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(command->name, names[i]) == 0) return true;
    return false;
}

/* Only rank 0 prints results and progress; every rank says what fails. */
static bool silence_others(struct ig_err *err)
{
    if (ig_dist_rank(ranks) == 0 || freopen("/dev/null", "w", stdout)) return true;
    return ig_err_set(err, IG_ERR_IO, "cannot open /dev/null");
}

/* Whether all ranks were started as the same program with the same arguments. */
static bool ranks_agree(const char *command, int argc, char **argv, struct ig_err *err)
{
    struct ig_buf lines = {0};
    if (!ranks) return true;
    ig_buf_printf(&lines, "ingot's version\t%s\nthe command line\t%s", INGOT_VERSION, command);
    for (int i = 0; i < argc; i++) {
        ig_buf_char(&lines, ' ');
        ig_json_quote(&lines, ig_slice_of(argv[i]), true);
    }
    bool ok = ig_dist_agree(ranks, ig_buf_ok(&lines, err), ig_buf_view(&lines), err);
    ig_buf_release(&lines);
    return ok;
}

static int run_command(const struct cli_command *command, int argc, char **argv)
{
    struct ig_err err = {0};
    enum ig_isa isa;
    struct cli_models models = {0};
    void *args = calloc(1, command->args_size);
    if (!args) return report_error(command, false, (ig_err_nomem(&err), &err));
    /* ranks first: of one that ends before it has met the others they may not hear */
    bool ok = ig_dist_open(&ranks, &err) && silence_others(&err) &&
              ranks_agree(command->name, argc, argv, &err) &&
              ig_opt_parse(command->options, argc, (const char *const *)argv, args, &err) &&
              ig_isa_pick(&isa, &err) && cli_models_find(command->options, args, &models, &err);
    const struct cli_common *common = args;
    cli_interrupt_start(command->name);
    cli_bad_page_arm(command->name, asks_for_json(argc, argv));
    bool first = ig_dist_rank(ranks) == 0;
    if (ranks) cli_interrupt_wait(CLI_WAITS); /* nobody asks while ranks wait for each other */
    if (ok && (first || is_shared(command)))
        ok = command->run(args, cli_watch(common->quiet || !first), &err);
    cli_watch_clear();
    if (ok && (fflush(stdout) != 0 || ferror(stdout)))
        ok = ig_err_set(&err, IG_ERR_IO, "cannot write to standard output");
    if (!ok && ranks) {
        ig_dist_defer(ranks);
        ig_err_within(&err, "rank %d on %s", ig_dist_rank(ranks), ig_dist_host(ranks));
    }
    int status = ok ? 0 : report_error(command, asks_for_json(argc, argv), &err);
    cli_models_release(&models);
    free(args);
    if (!ok && ranks) ig_dist_abort(ranks, status);
    ig_dist_close(ranks);
    return status;
}

/* Where the caller has closed one of the standard files, the next file that is opened would take
 * its number: a model would be read as the prompt, an output be written over by what is printed.
 * What takes it here fails when it is used. */
static bool hold_standard_files(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd) return false;
    return true;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!hold_standard_files()) return 1;
    signal(SIGXFSZ, SIG_IGN); /* a file too large is an error with a name, not a death */
    if (name && strcmp(name, "help") == 0 && argc > 2) {
        name = argv[2];
        argc = 2;
        if (!find_command(name)) return unknown_command(name);
        print_help(find_command(name));
        return 0;
    }
    if (!name || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "help") == 0) {
        print_usage(name ? stdout : stderr);
        return name ? 0 : 2;
    }
    if (strcmp(name, "--version") == 0) {
        puts("ingot " INGOT_VERSION);
        return 0;
    }
    const struct cli_command *command = find_command(name);
    if (!command) return unknown_command(name);
    if (asks_for_help(argc - 2, argv + 2)) {
        print_help(command);
        return 0;
    }
    return run_command(command, argc - 2, argv + 2);
}
