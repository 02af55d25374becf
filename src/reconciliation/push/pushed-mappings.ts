/** Default mapping of a SCIM connection: over the flat view of a pushed user (`PushedUser.attributes`). */
import type { DefaultMapping } from '../../connectors/contract/contract.ts';

export const pushedMappings: readonly DefaultMapping[] = [
  { target: 'username', expression: 'object.userName' },
  { target: 'email', expression: 'object.email != null ? object.email : object.userName' },
  { target: 'displayName', expression: 'object.displayName' },
  { target: 'givenName', expression: 'object.givenName' },
  { target: 'familyName', expression: 'object.familyName' },
  { target: 'phone', expression: 'object.phone' },
  { target: 'employeeId', expression: 'object.employeeNumber' },
  { target: 'department', expression: 'object.department' },
  { target: 'jobTitle', expression: 'object.title' },
];
