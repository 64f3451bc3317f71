/* A driver for fuzz.c where there is no libFuzzer: runs the corpus as it is, then mutations of it. The same seed gives
 * the same runs. A failure leaves its input in the file that --crash names. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
void __sanitizer_set_death_callback(void (*callback)(void));

enum { INPUT_MAX = 8192, CORPUS_MAX = 512 };

struct input {
    uint8_t *bytes;
    size_t length;
};

static struct input corpus[CORPUS_MAX];
static size_t corpus_length;

static uint8_t current[INPUT_MAX];
static size_t current_length;

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_number(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static size_t random_below(size_t bound)
{
    return bound ? (size_t)(random_number() % bound) : 0;
}

static const char *crash_path = "crash";

static void save_current(void)
{
    int fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd >= 0 && write(fd, current, current_length) >= 0)
        fprintf(stderr, "fuzz: the input is in %s\n", crash_path);
}

static void on_abort(int signal_number)
{
    save_current();
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* ---- the corpus ---- */

static void load_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || corpus_length == CORPUS_MAX) {
        fprintf(stderr, "fuzz: cannot load %s\n", path);
        exit(2);
    }
    struct input *input = &corpus[corpus_length++];
    input->bytes = malloc(INPUT_MAX);
    if (!input->bytes)
        exit(2);
    input->length = fread(input->bytes, 1, INPUT_MAX, file);
    fclose(file);
}

static void load(const char *path)
{
    DIR *directory = opendir(path);
    if (!directory) {
        load_file(path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort); /* sorted: the runs do not depend on the file system */
    closedir(directory);
    for (int i = 0; i < count; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            load_file(file);
        free(entries[i]);
    }
    free(entries);
}

/* ---- mutations ---- */

static void replace(size_t at, size_t removed, const void *bytes, size_t length)
{
    if (current_length - removed + length > INPUT_MAX)
        return;
    memmove(current + at + length, current + at + removed, current_length - at - removed);
    memcpy(current + at, bytes, length);
    current_length = current_length - removed + length;
}

static void insert_word(size_t at)
{
    static const char *const words[] = {
        "\"", "\\", "\\u0000", "\\ud83d\\ude00", "\\ud800", "{", "}", "[", "]", ",", ":", "null", "true", "-0.5e+9", "\r\n", "\r",
        "\n", "\xc3\xa9", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\"ipam\":", "{\"server_socket\":\"/s\"}", "\"server_socket\"", "\"type\":",
        "\"kube-ovn\"", "\"cniVersion\":\"1.1.0\",", "[[[[[[[[[[[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":", "HTTP/1.1 200 OK\r\n",
        "Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n", "\r\n\r\n{}", "1048576", "99999999999999999999", "CNI_COMMAND=",
        "CNI_IFNAME=", "CNI_CONTAINERID=", "..", "/", " ", "600", "\x7f", "\xff",
    };
    const char *word = words[random_below(sizeof words / sizeof *words)];
    replace(at, 0, word, strlen(word));
}

static void repeat(size_t at)
{
    uint8_t copy[64];
    size_t left = current_length - at, length = random_below(left < sizeof copy ? left : sizeof copy);
    memcpy(copy, current + at, length);
    replace(at, 0, copy, length);
}

static void mutate_once(void)
{
    size_t at = random_below(current_length), left = current_length - at;
    uint8_t byte = (uint8_t)random_number();
    const struct input *other = &corpus[random_below(corpus_length)];
    size_t from = random_below(other->length);
    switch (current_length ? random_below(8) : 1) {
    case 0:
        current[at] ^= (uint8_t)(1u << random_below(8));
        break;
    case 1:
        replace(at, 0, &byte, 1);
        break;
    case 2:
        replace(at, 1, "", 0);
        break;
    case 3:
        replace(at, random_below(left < 32 ? left : 32), "", 0);
        break;
    case 4:
        repeat(at);
        break;
    case 5: /* a piece of another input */
        replace(at, random_below(left < 64 ? left : 64), other->bytes + from, random_below(other->length - from));
        break;
    default:
        insert_word(at);
    }
}

static void mutate(void)
{
    const struct input *input = &corpus[random_below(corpus_length)];
    memcpy(current, input->bytes, input->length);
    current_length = input->length;
    for (size_t left = 1 + random_below(6); left; left--)
        mutate_once();
}

/* ---- */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    unsigned long runs = 200000, seed = (unsigned long)time(NULL);
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--runs") == 0)
            runs = strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            seed = strtoul(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--crash") == 0)
            crash_path = argv[++i];
        else
            load(argv[i]);
    }
    if (corpus_length == 0) {
        fputs("usage: fuzz [--runs N] [--seed N] [--crash FILE] CORPUS...\n", stderr);
        return 2;
    }
    printf("fuzz: %zu inputs, %lu runs, seed %lu\n", corpus_length, runs, seed);
    fflush(stdout);
    __sanitizer_set_death_callback(save_current);
    signal(SIGABRT, on_abort);
    random_state = seed;

    double started = now();
    for (size_t i = 0; i < corpus_length; i++) {
        memcpy(current, corpus[i].bytes, corpus[i].length);
        current_length = corpus[i].length;
        LLVMFuzzerTestOneInput(current, current_length);
    }
    for (unsigned long run = 0; run < runs; run++) {
        mutate();
        LLVMFuzzerTestOneInput(current, current_length);
    }
    double seconds = now() - started;
    printf("fuzz: %lu executions in %.1f s (%.0f/s), no failure\n", runs + corpus_length, seconds,
           (double)(runs + corpus_length) / seconds);
    for (size_t i = 0; i < corpus_length; i++)
        free(corpus[i].bytes);
    return 0;
}
