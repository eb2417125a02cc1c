/* What the Cortex-M ports share: registers of the core (ARMv6-M and ARMv7-M), and sleeping until the line has something
 * to say.
 *
 * No interrupt is ever taken: PRIMASK is set for good, so a vector table needs no entries for the chip, and nothing
 * disturbs an inference that is timed. A pending interrupt still wakes `wfi`: the UART's ends the sleep when a byte has
 * come, SysTick's once a millisecond. A program that waits so uses no power, and an emulator no processor.
 *
 * Reading byte by byte loses nothing while the program waits, since a byte takes 87 us. While an inference runs nobody
 * reads, and a second byte would overrun the receiver: the protocol's host sends nothing until it has its answer. */
#ifndef ECM_CORTEX_M4_H
#define ECM_CORTEX_M4_H

#include <stdint.h>

#include "no_libc.h"

#define ECM_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

#define SYST_CSR ECM_REGISTER(0xE000E010u)
#define SYST_RVR ECM_REGISTER(0xE000E014u)
#define SYST_CVR ECM_REGISTER(0xE000E018u)
#define SYST_ENABLE (1u << 0)
#define SYST_TICKINT (1u << 1)
#define SYST_CLKSOURCE (1u << 2)
#define SYST_COUNTFLAG (1u << 16)

#define NVIC_ISER(irq) ECM_REGISTER(0xE000E100u + 4u * ((irq) / 32u))
#define NVIC_ICER(irq) ECM_REGISTER(0xE000E180u + 4u * ((irq) / 32u))
#define NVIC_ICPR(irq) ECM_REGISTER(0xE000E280u + 4u * ((irq) / 32u))
#define NVIC_BIT(irq) (1u << ((irq) % 32u))

#define SCB_ICSR ECM_REGISTER(0xE000ED04u)
#define ICSR_PENDSTCLR (1u << 25)

/* irq: the UART's number; core_hz: of the core's clock, up to 16 GHz (24 bits of counter). */
static inline void ecm_sleep_open(uint32_t irq, uint32_t core_hz)
{
    __asm__ volatile("cpsid i" ::: "memory");
    SYST_RVR = core_hz / 1000u - 1u;
    SYST_CVR = 0u;
    SYST_CSR = SYST_CLKSOURCE | SYST_TICKINT | SYST_ENABLE;
    NVIC_ISER(irq) = NVIC_BIT(irq);
}

/* The port's: non-zero if the UART holds a byte. Not a pointer to a function: the stack's bound has to know who calls
 * whom. */
uint32_t ecm_received(void);

/* Sleeps until ecm_received gives non-zero, `timeout_ms` (< 0: for ever) at the most. Returns what it gave, so 0 for a
 * time-out. What is pending is cleared before the look, so that whatever comes after it ends the sleep. */
static inline uint32_t ecm_sleep_until_received(uint32_t irq, int32_t timeout_ms)
{
    int32_t waited_ms = -1; /* the first tick ends a millisecond that had begun before */
    for (;;) {
        uint32_t found;
        NVIC_ICPR(irq) = NVIC_BIT(irq);
        SCB_ICSR = ICSR_PENDSTCLR;
        found = ecm_received();
        if (found != 0u) {
            return found;
        }
        if (timeout_ms >= 0) {
            waited_ms += (SYST_CSR & SYST_COUNTFLAG) != 0u;
            if (waited_ms >= timeout_ms) {
                return 0u;
            }
        }
        __asm__ volatile("dsb\n\twfi" ::: "memory");
    }
}

/* Sleeps for good. */
static inline void ecm_sleep_for_ever(uint32_t irq)
{
    SYST_CSR = 0u;
    NVIC_ICER(irq) = NVIC_BIT(irq);
    for (;;) {
        NVIC_ICPR(irq) = NVIC_BIT(irq);
        SCB_ICSR = ICSR_PENDSTCLR;
        __asm__ volatile("dsb\n\twfi" ::: "memory");
    }
}

#endif
