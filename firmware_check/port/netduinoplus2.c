/* Port for the emulated Cortex-M4: `qemu-system-arm -M netduinoplus2`, an STM32F405.
 *
 * QEMU connects its first -serial to USART1 (hw/arm/stm32f405_soc.c), whose registers are those of the STM32F2 family
 * (hw/char/stm32f2xx_usart.c); it sends and receives at once, whatever the baud rate, and needs neither clocks nor pins
 * to be set up. The core's clock is 168 MHz to SysTick. QEMU 7.2 has no cycle counter (DWT), so the stopwatch is TIM2
 * (hw/timer/stm32f2xx_timer.c), which counts 1 GHz of the emulator's own time: it says nothing about any board. */

#include <stdint.h>

#include "cortex_m4.h"
#include "ecm_port.h"

#define CORE_HZ 168000000u
#define USART1_IRQ 37u

#define USART_SR ECM_REGISTER(0x40011000u)
#define USART_DR ECM_REGISTER(0x40011004u)
#define USART_CR1 ECM_REGISTER(0x4001100Cu)
#define SR_RXNE (1u << 5)
#define SR_TXE (1u << 7)
#define CR1_RE (1u << 2)
#define CR1_TE (1u << 3)
#define CR1_RXNEIE (1u << 5)
#define CR1_UE (1u << 13)

#define TIM2_CNT ECM_REGISTER(0x40000024u)
#define TIM2_PSC ECM_REGISTER(0x40000028u)
#define TICKS_PER_MS 100000.0f
#define PRESCALER 10u /* of 1 GHz: ticks of 10 ns, which come round after 42 s */

static uint32_t started;

uint32_t ecm_received(void) { return USART_SR & SR_RXNE; }

int32_t ecm_port_open(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    TIM2_PSC = PRESCALER - 1u;
    ecm_sleep_open(USART1_IRQ, CORE_HZ);
    USART_CR1 = CR1_UE | CR1_TE | CR1_RE | CR1_RXNEIE;
    return 0;
}

int32_t ecm_port_read(uint8_t *bytes, int32_t capacity, int32_t timeout_ms)
{
    int32_t count = 0;
    if (ecm_sleep_until_received(USART1_IRQ, timeout_ms) == 0u) {
        return 0;
    }
    while (count < capacity && ecm_received() != 0u) {
        bytes[count++] = (uint8_t)USART_DR;
    }
    return count;
}

int32_t ecm_port_write(const uint8_t *bytes, int32_t count)
{
    for (int32_t done = 0; done < count; done++) {
        while ((USART_SR & SR_TXE) == 0u) {
        }
        USART_DR = bytes[done];
    }
    return count;
}

void ecm_port_clock_start(void) { started = TIM2_CNT; }

float ecm_port_clock_ms(void) { return (float)(TIM2_CNT - started) / TICKS_PER_MS; }

void ecm_port_note(const char *text, int32_t count) { (void)ecm_port_write((const uint8_t *)text, count); }

void ecm_port_exit(int32_t code)
{
    (void)code;
    ecm_sleep_for_ever(USART1_IRQ);
    for (;;) {
    }
}
