/** users/user-columns: the target of a mapping -> its column. Targets with a key have a second one, `<column>_key`. */
export const userColumns: Readonly<Record<string, string>> = {
  username: 'username',
  email: 'email',
  displayName: 'display_name',
  givenName: 'given_name',
  familyName: 'family_name',
  phone: 'phone',
  employeeId: 'employee_id',
  department: 'department',
  jobTitle: 'job_title',
};
export const keyed: ReadonlySet<string> = new Set(['username', 'email', 'displayName', 'employeeId']);
export const customPrefix = 'attributes.';
