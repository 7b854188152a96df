/* SPDX-License-Identifier: Apache-2.0
 * compare_grid — a table on its way to a terminal or into a model card. */
#include "cli.h"
#include "compare.h"

#include <stdarg.h>
#include <stdlib.h>

void cli_grid_put(struct cli_grid *grid, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    if (grid->count == grid->room) {
        int room = grid->room ? grid->room * 2 : 64;
        char **cells = realloc(grid->cells, (size_t)room * sizeof *cells);
        if (!cells) {
            grid->failed = true;
            return;
        }
        grid->cells = cells;
        grid->room = room;
    }
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) text = NULL;
    va_end(args);
    if (text)
        grid->cells[grid->count++] = text;
    else
        grid->failed = true;
}

static bool is_number(const char *cell)
{
    cell += *cell == '-' || *cell == '+' || *cell == '<';
    return *cell == 0 || (*cell >= '0' && *cell <= '9');
}

static bool column_is_numbers(const struct cli_grid *grid, int column)
{
    bool numbers = grid->count > grid->columns;
    for (int i = grid->columns + column; i < grid->count; i += grid->columns)
        numbers = numbers && is_number(grid->cells[i]);
    return numbers;
}

/* What Markdown would take for a border or a mark in a name is escaped. "**" at both ends is ours.
 */
static void print_markdown_cell(const char *cell)
{
    size_t len = strlen(cell);
    bool bold = len > 1 && cell[len - 1] == '*' && is_number(cell);
    if (bold) printf("**%.*s**", (int)(len - 1), cell);
    for (; !bold && *cell; cell++) {
        if (strchr("|*_<>`\\[]", *cell) && *cell != '_') putchar('\\');
        putchar(*cell);
    }
}

static void print_markdown(const struct cli_grid *grid)
{
    int rows = grid->count / grid->columns;
    for (int row = 0; row < rows; row++) {
        for (int column = 0; column < grid->columns; column++) {
            fputs(column ? " | " : "| ", stdout);
            print_markdown_cell(grid->cells[row * grid->columns + column]);
        }
        fputs(" |\n", stdout);
        for (int column = 0; row == 0 && column < grid->columns; column++)
            fputs(column_is_numbers(grid, column) ? "|---:" : "|---", stdout);
        if (row == 0) fputs("|\n", stdout);
    }
}

void cli_grid_print(struct cli_grid *grid, bool markdown)
{
    if (grid->failed)
        fputs("ingot: out of memory for a table\n", stderr);
    else if (markdown)
        print_markdown(grid);
    else
        cli_print_table((const char *const *)grid->cells, grid->count / grid->columns,
                        grid->columns);
    for (int i = 0; i < grid->count; i++)
        free(grid->cells[i]);
    free(grid->cells);
    *grid = (struct cli_grid){.columns = grid->columns};
}
