/* QEMU plugin: what one inference executes, block by block; how deep the stack gets; whether an access is unaligned.
 *
 * It knows no instruction set: it writes where each translated block lies, and how often it ran in each inference, by
 * layer. Classes and cycles are worked out from that and the image by ecm_edge.firmware.count.
 *
 * Arguments, numbers in hexadecimal:
 *   out=FILE        where to write
 *   run=A-B         the function that is one inference: it begins when A is entered and ends when its caller goes on
 *   layer=A         the entry of a layer's function, once for each, in order: what runs from there on is of this layer,
 *                   the functions that it calls included, but for what lies in A-B of `run`, which is of none (-1)
 *   stack=A-B       stores to addresses from A up to below B are stores to the stack
 *
 * Lines of FILE:
 *   block ID ADDRESS N                    once for each block: it has N instructions from ADDRESS on
 *   count RUN LAYER ID TIMES              after each inference
 *   run RUN LOWEST HIGHEST UNALIGNED PC   last after each inference: the stack's lowest byte stored to and the end of
 *                                         the highest since the program began; unaligned accesses of this inference
 *                                         and the address of the first of them
 *
 * Built for the plugin interface's version 1 (QEMU 4.2 to 8.2); Debian has no header, so what is used is declared here.
 * One guest processor.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(
    struct qemu_plugin_tb *tb, void (*cb)(unsigned int, void *), enum qemu_plugin_cb_flags flags, void *userdata);
void qemu_plugin_register_vcpu_mem_cb(
    struct qemu_plugin_insn *insn,
    void (*cb)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *),
    enum qemu_plugin_cb_flags flags,
    enum qemu_plugin_mem_rw rw,
    void *userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
__attribute__((visibility("default"))) int qemu_plugin_install(
    qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

enum { MAX_LAYERS = 4096, NO_LAYER = -1 };
enum { FIXED_SIZE = 4 }; /* of an instruction whose bytes QEMU 7.2 does not give: LoongArch's */

/* A translated block, kept for ever: QEMU may translate the same address again, which makes another one. */
typedef struct block {
    uint64_t id, address, end;
    int enters;       /* the layer whose function begins here, or NO_LAYER */
    uint64_t *counts; /* of this inference: [0] of no layer, [1 + layer]; allocated when first needed */
    struct block *next;
} block;

static FILE *out;
static uint64_t run_begin, run_end, stack_low, stack_high = UINT64_MAX;
static uint64_t layers[MAX_LAYERS];
static int layer_count;

static block *blocks;
static uint64_t block_count;
static bool running;
static int layer = NO_LAYER;
static uint64_t runs, previous_end, return_address;
static uint64_t lowest = UINT64_MAX, highest, unaligned, unaligned_pc;

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);
    if (memory == NULL) {
        fprintf(stderr, "icount: out of memory\n");
        exit(1);
    }
    return memory;
}

static void end_run(void)
{
    for (block *b = blocks; b != NULL; b = b->next) {
        for (int i = 0; b->counts != NULL && i <= layer_count; ++i) {
            if (b->counts[i] != 0) {
                fprintf(out, "count %" PRIu64 " %d %" PRIu64 " %" PRIu64 "\n", runs, i - 1, b->id, b->counts[i]);
                b->counts[i] = 0;
            }
        }
    }
    fprintf(
        out, "run %" PRIu64 " %" PRIx64 " %" PRIx64 " %" PRIu64 " %" PRIx64 "\n", runs, lowest, highest, unaligned,
        unaligned_pc);
    fflush(out);
    ++runs;
    running = false;
    layer = NO_LAYER;
    unaligned = unaligned_pc = 0;
}

/* A call ends a block, so where the inference's caller goes on is the end of the block before its entry. */
static void on_block(unsigned int vcpu, void *userdata)
{
    block *b = userdata;
    int at = NO_LAYER;
    (void)vcpu;
    if (running && b->address == return_address)
        end_run();
    if (!running && b->address == run_begin) {
        running = true;
        return_address = previous_end;
    }
    previous_end = b->end;
    if (!running)
        return;
    if (b->enters != NO_LAYER)
        layer = b->enters;
    if (b->address < run_begin || b->address >= run_end)
        at = layer;
    if (b->counts == NULL)
        b->counts = allocate((size_t)layer_count + 1, sizeof *b->counts);
    ++b->counts[at + 1];
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *userdata)
{
    const uint64_t bytes = UINT64_C(1) << qemu_plugin_mem_size_shift(info);
    (void)vcpu;
    if (running && (address & (bytes - 1)) != 0 && unaligned++ == 0)
        unaligned_pc = (uint64_t)(uintptr_t)userdata;
    if (address < stack_low || address >= stack_high || !qemu_plugin_mem_is_store(info))
        return;
    if (address < lowest)
        lowest = address;
    if (address + bytes > highest)
        highest = address + bytes;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const size_t n = qemu_plugin_tb_n_insns(tb);
    block *b = allocate(1, sizeof *b);
    (void)id;
    b->id = block_count++;
    b->address = b->end = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
    b->enters = NO_LAYER;
    for (int i = 0; i < layer_count; ++i)
        if (layers[i] == b->address)
            b->enters = i;
    b->next = blocks;
    blocks = b;
    fprintf(out, "block %" PRIu64 " %" PRIx64 " %zu\n", b->id, b->address, n);
    for (size_t i = 0; i < n; ++i) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const uint64_t pc = qemu_plugin_insn_vaddr(insn);
        const size_t size = qemu_plugin_insn_size(insn);
        b->end = pc + (size != 0 ? size : FIXED_SIZE);
        qemu_plugin_register_vcpu_mem_cb(
            insn, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, (void *)(uintptr_t)pc);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, b);
}

/* Reads "A-B"; false if it is not that. */
static bool read_range(const char *text, uint64_t *from, uint64_t *to)
{
    char *end;
    *from = strtoull(text, &end, 16);
    if (*end != '-')
        return false;
    *to = strtoull(end + 1, &end, 16);
    return *end == '\0';
}

static bool read_argument(const char *argument)
{
    if (strncmp(argument, "out=", 4) == 0)
        return (out = fopen(argument + 4, "w")) != NULL;
    if (strncmp(argument, "run=", 4) == 0)
        return read_range(argument + 4, &run_begin, &run_end);
    if (strncmp(argument, "stack=", 6) == 0)
        return read_range(argument + 6, &stack_low, &stack_high);
    if (strncmp(argument, "layer=", 6) != 0 || layer_count == MAX_LAYERS)
        return false;
    layers[layer_count++] = strtoull(argument + 6, NULL, 16);
    return true;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info;
    for (int i = 0; i < argc; ++i) {
        if (!read_argument(argv[i])) {
            fprintf(stderr, "icount: cannot use the argument %s\n", argv[i]);
            return -1;
        }
    }
    if (out == NULL || run_end <= run_begin) {
        fprintf(stderr, "icount: needs out= and run=\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
