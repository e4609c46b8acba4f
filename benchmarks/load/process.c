/* What the servers use: CPU time by their own clocks, and memory; children count with them. */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

struct process {
    int pid, server;
};

static struct process processes[MOST_PROCESSES];
static int process_count;

static int parent_of(int pid)
{
    char path[64], text[1024];
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t count = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[count] = 0;
    const char *behind_name = strrchr(text, ')');
    if (behind_name)
        sscanf(behind_name + 1, " %*c %d", &parent);
    return parent;
}

static int server_of(int pid)
{
    for (int i = 0; i < process_count; i++)
        if (processes[i].pid == pid)
            return processes[i].server;
    return -1;
}

static void add_process(int pid, int server)
{
    if (process_count < MOST_PROCESSES && server_of(pid) < 0)
        processes[process_count++] = (struct process){pid, server};
}

/* A child may stand before its parent in /proc, so this is done until nobody new is found. */
static bool find_children(void)
{
    int before = process_count;
    DIR *folder = opendir("/proc");
    if (!folder)
        return false;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        int pid = atoi(entry->d_name), server = server_of(parent_of(pid));
        if (server >= 0)
            add_process(pid, server);
    }
    closedir(folder);
    return process_count > before;
}

void find_processes(void)
{
    for (int i = 0; i < options.server_count; i++)
        add_process(options.servers[i], i);
    while (find_children())
        ;
}

static double cpu_of(int pid)
{
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &used))
        return 0;
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static uint64_t rss_of(int pid)
{
    char path[64], line[256];
    uint64_t kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, "VmRSS:", 6))
            kb = strtoull(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return kb;
}

struct usage use(void)
{
    struct usage usage = {0};
    for (int i = 0; i < process_count; i++) {
        usage.cpu_s[processes[i].server] += cpu_of(processes[i].pid);
        usage.rss_kb[processes[i].server] += rss_of(processes[i].pid);
    }
    return usage;
}
