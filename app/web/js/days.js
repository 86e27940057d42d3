/** Days as a date field has them ("2024-05-31") and as the API takes them (instants, the end excluded), in UTC. */

/**
 * Return the day of an instant, or one so many days later.
 * @param {string} instant ISO 8601
 * @param {number} [later] in days
 */
export function dayOf(instant, later = 0) {
  const date = new Date(instant);
  date.setUTCDate(date.getUTCDate() + later);
  return date.toISOString().slice(0, 10);
}

/** @param {string} day */
export function startOf(day) {
  return `${day}T00:00:00Z`;
}

/** @param {string} day */
export function endOf(day) {
  return startOf(dayOf(day, 1));
}
