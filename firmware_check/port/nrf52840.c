/* Port for the nRF52840 DK (PCA10056, nRF52840 at 64 MHz): UART0 on P0.06/P0.08, the J-Link's virtual COM port.
 *
 * Registers after the nRF52840 Product Specification v1.7; the start-up has switched on the FPU. Not run on a board
 * here: QEMU has no nRF52840.
 *
 * Clock: the core runs at 64 MHz from reset. A UART needs the crystal (HFXO): the internal oscillator is within 8 %. The
 * cache of the flash is off after reset. */

#include <stdint.h>

#include "cortex_m4.h"
#include "ecm_port.h"

#define CORE_HZ 64000000u
#define UART0_IRQ 2u

#define CLOCK_TASKS_HFCLKSTART ECM_REGISTER(0x40000000u)
#define CLOCK_EVENTS_HFCLKSTARTED ECM_REGISTER(0x40000100u)

#define NVMC_ICACHECNF ECM_REGISTER(0x4001E540u)
#define ICACHECNF_CACHEEN (1u << 0)

#define P0_OUTSET ECM_REGISTER(0x50000508u)
#define P0_DIRSET ECM_REGISTER(0x50000518u)
#define TXD_PIN 6u
#define RXD_PIN 8u

#define UART_TASKS_STARTRX ECM_REGISTER(0x40002000u)
#define UART_TASKS_STARTTX ECM_REGISTER(0x40002008u)
#define UART_EVENTS_RXDRDY ECM_REGISTER(0x40002108u)
#define UART_EVENTS_TXDRDY ECM_REGISTER(0x4000211Cu)
#define UART_INTENSET ECM_REGISTER(0x40002304u)
#define UART_ERRORSRC ECM_REGISTER(0x40002480u)
#define UART_ENABLE ECM_REGISTER(0x40002500u)
#define UART_PSEL_TXD ECM_REGISTER(0x4000250Cu)
#define UART_PSEL_RXD ECM_REGISTER(0x40002514u)
#define UART_RXD ECM_REGISTER(0x40002518u)
#define UART_TXD ECM_REGISTER(0x4000251Cu)
#define UART_BAUDRATE ECM_REGISTER(0x40002524u)
#define INTENSET_RXDRDY (1u << 2)
#define ENABLE_UART 4u
#define BAUDRATE_115200 0x01D7E000u
#define ERRORS 15u /* overrun, parity, framing, break; writing ones clears them */

#define DEMCR ECM_REGISTER(0xE000EDFCu)
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL ECM_REGISTER(0xE0001000u)
#define DWT_CYCCNT ECM_REGISTER(0xE0001004u)
#define DWT_CYCCNTENA (1u << 0)

static uint32_t started;

static void open_clock(void)
{
    NVMC_ICACHECNF = ICACHECNF_CACHEEN;
    CLOCK_TASKS_HFCLKSTART = 1u;
    while (CLOCK_EVENTS_HFCLKSTARTED == 0u) {
    }
}

static void open_line(void)
{
    P0_OUTSET = 1u << TXD_PIN; /* an idle line is high */
    P0_DIRSET = 1u << TXD_PIN;
    UART_PSEL_TXD = TXD_PIN;
    UART_PSEL_RXD = RXD_PIN;
    UART_BAUDRATE = BAUDRATE_115200;
    UART_INTENSET = INTENSET_RXDRDY;
    UART_ENABLE = ENABLE_UART;
    UART_TASKS_STARTRX = 1u;
    UART_TASKS_STARTTX = 1u;
}

int32_t ecm_port_open(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    open_clock();
    DEMCR |= DEMCR_TRCENA;
    DWT_CYCCNT = 0u;
    DWT_CTRL |= DWT_CYCCNTENA;
    ecm_sleep_open(UART0_IRQ, CORE_HZ);
    open_line();
    return 0;
}

/* Clears the errors of the line on the way. */
uint32_t ecm_received(void)
{
    UART_ERRORSRC = ERRORS;
    return UART_EVENTS_RXDRDY;
}

/* The event is cleared before its byte is read: one that comes in between sets it again. */
int32_t ecm_port_read(uint8_t *bytes, int32_t capacity, int32_t timeout_ms)
{
    int32_t count = 0;
    if (ecm_sleep_until_received(UART0_IRQ, timeout_ms) == 0u) {
        return 0;
    }
    while (count < capacity && ecm_received() != 0u) {
        UART_EVENTS_RXDRDY = 0u;
        (void)UART_EVENTS_RXDRDY; /* so that the write has arrived, and the interrupt does not come back */
        bytes[count++] = (uint8_t)UART_RXD;
    }
    return count;
}

/* Waits for each byte to be sent, the last one too. */
int32_t ecm_port_write(const uint8_t *bytes, int32_t count)
{
    for (int32_t done = 0; done < count; done++) {
        UART_EVENTS_TXDRDY = 0u;
        UART_TXD = bytes[done];
        while (UART_EVENTS_TXDRDY == 0u) {
        }
    }
    return count;
}

/* The counter stops while the core sleeps and comes round after 67 s; an inference does not sleep. */
void ecm_port_clock_start(void) { started = DWT_CYCCNT; }

float ecm_port_clock_ms(void) { return (float)(DWT_CYCCNT - started) / (CORE_HZ / 1e3f); }

void ecm_port_note(const char *text, int32_t count) { (void)ecm_port_write((const uint8_t *)text, count); }

void ecm_port_exit(int32_t code)
{
    (void)code;
    ecm_sleep_for_ever(UART0_IRQ);
    for (;;) {
    }
}
