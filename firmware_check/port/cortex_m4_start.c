/* Start-up of a Cortex-M without an operating system: vector table, the FPU on where the code uses one, .data copied,
 * .bss cleared, main.
 *
 * Nothing here depends on the chip; the linker script gives the addresses. No interrupt is used by the programs, so the
 * table has the core's own 16 entries, and every fault ends in ecm_fault, where a debugger finds it.
 */
#include <stdint.h>

/* Ends of the sections, 4-byte aligned; only their addresses mean something. */
extern uint32_t ecm_data_start[], ecm_data_end[], ecm_bss_start[], ecm_bss_end[], ecm_stack_top[];
extern const uint32_t ecm_data_image[];

int main(void);
void ecm_reset(void);
void ecm_fault(void);

#define ECM_CPACR (*(volatile uint32_t *)0xE000ED88u) /* coprocessor access control, ARMv7-M B3.2.20 */

void ecm_fault(void)
{
    for (;;) {
    }
}

void ecm_reset(void)
{
    const volatile uint32_t *from = ecm_data_image;
    volatile uint32_t *to;

#if defined(__ARM_FP)
    ECM_CPACR |= 0xFu << 20; /* full access to CP10 and CP11: the FPU */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    for (to = ecm_data_start; to < ecm_data_end; ++to)
        *to = *from++;
    for (to = ecm_bss_start; to < ecm_bss_end; ++to)
        *to = 0u;
    (void)main();
    ecm_fault();
}

typedef union {
    uint32_t *stack_top;
    void (*handler)(void);
} ecm_vector;

extern const ecm_vector ecm_vectors[16];

/* ARMv7-M B1.5.3: the first stack pointer, then reset, NMI, the faults, and the system's exceptions. */
__attribute__((section(".vectors"), used)) const ecm_vector ecm_vectors[16] = {
    {.stack_top = ecm_stack_top},
    {.handler = ecm_reset},
    {.handler = ecm_fault},
    {.handler = ecm_fault},
    {.handler = ecm_fault},
    {.handler = ecm_fault},
    {.handler = ecm_fault},
    {.handler = 0},
    {.handler = 0},
    {.handler = 0},
    {.handler = 0},
    {.handler = ecm_fault},
    {.handler = ecm_fault},
    {.handler = 0},
    {.handler = ecm_fault},
    {.handler = ecm_fault},
};
